"""Values from files: taken if they are what is needed, else nothing."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tersor.report.untrusted import MAX_ITEMS, MAX_TEXT, count, items, mapping, number, objects, text, visible

JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
)


@pytest.mark.parametrize("value", [True, "1", None, float("nan"), float("inf"), 10**400, [1], {}])
def test_what_is_no_finite_number_is_none(value: object) -> None:
    assert number(value) is None


def test_numbers_come_back() -> None:
    assert (number(3), number(-0.5), count(7), count(7.0)) == (3.0, -0.5, 7, 7)
    assert (count(-1), count(0.5), count("7")) == (None, None, None)


def test_long_texts_and_lists_are_cut() -> None:
    assert len(text("x" * 10_000)) == MAX_TEXT
    assert text("x" * MAX_TEXT) == "x" * MAX_TEXT
    assert len(items(list(range(10 * MAX_ITEMS)))) == MAX_ITEMS


@given(JSON)
def test_any_json_is_taken_as_one_kind_or_as_nothing(value: object) -> None:
    assert isinstance(text(value), str)
    assert list(objects(value)) == (
        [v for v in value if isinstance(v, dict)] if isinstance(value, list) else []
    )
    assert mapping(value) == (value if isinstance(value, dict) else {})


@given(st.text())
def test_visible_text_holds_no_control_character_and_is_json(value: str) -> None:
    shown = visible(value)
    assert all(char.isprintable() or char == "\n" for char in shown)
    assert json.loads(json.dumps(shown)) == shown
    if value.isprintable():
        assert shown == value
