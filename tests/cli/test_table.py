"""Text tables and readable figures."""

from __future__ import annotations

import pytest

from tersor.cli.table import bytes_text, figure, shape_text, table


def test_table_aligns_text_left_and_numbers_right() -> None:
    assert table(["name", "bytes"], [["a", "5"], ["long", "1234"], ["b", "-"]]).splitlines() == [
        "name  bytes",
        "----  -----",
        "a         5",
        "long   1234",
        "b         -",
    ]


def test_table_counts_wide_and_combining_characters_as_cells() -> None:
    lines = table(["n", "m"], [["漢字", "x"], ["e\u0301", "y"], ["ab", "z"]]).splitlines()
    assert lines[2:] == ["漢字  x", "e\u0301     y", "ab    z"]


def test_table_without_rows_is_its_header() -> None:
    assert table(["a", "bc"], []) == "a  bc\n-  --"


@pytest.mark.parametrize(
    ("n_bytes", "text"),
    [
        (0, "0 B"),
        (999, "999 B"),
        (1000, "1.0 kB"),
        (999_949, "999.9 kB"),
        (999_950, "1.0 MB"),
        (90_900_000, "90.9 MB"),
        (2 * 10**15, "2000.0 TB"),
    ],
)
def test_bytes_text(n_bytes: int, text: str) -> None:
    assert bytes_text(n_bytes) == text


def test_figures_and_shapes() -> None:
    assert figure(None) == "-"
    assert figure(0.123456) == "0.1235"
    assert figure("rans") == "rans"
    assert shape_text([3, 4]) == "3x4"
    assert shape_text([]) == "scalar"
