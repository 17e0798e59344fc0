from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tersor.archive.varint import decode_varints, encode_varints
from tersor.errors import CorruptError

LENGTHS = st.lists(st.one_of(st.integers(0, 300), st.integers(0, 2**56 - 1)))


@given(LENGTHS)
def test_varints_come_back(values: list[int]) -> None:
    assert decode_varints(encode_varints(values), len(values), "x").tolist() == values


@given(st.lists(st.integers(0, 1 << 20), min_size=1))
def test_another_count_raises_corrupt(values: list[int]) -> None:
    data = encode_varints(values)
    for count in (len(values) - 1, len(values) + 1):
        with pytest.raises(CorruptError, match=f"needs {count}"):
            decode_varints(data, count, "x")


@pytest.mark.parametrize("data", [b"\x80", b"\x05\x80", b"\x80\x80"])
def test_unfinished_number_raises_corrupt(data: bytes) -> None:
    with pytest.raises(CorruptError):
        decode_varints(data, 1, "x")


@pytest.mark.parametrize(
    "data", [b"\x80\x00", b"\xff\x80\x00", b"\xff" * 8 + b"\x01", b"\xff" * 40 + b"\x01"]
)
def test_long_form_and_giants_raise_corrupt(data: bytes) -> None:
    with pytest.raises(CorruptError, match="shortest form"):
        decode_varints(data, 1, "x")
