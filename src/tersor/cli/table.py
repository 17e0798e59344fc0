"""Text tables. Plain strings, not rich: importing rich would double the time of `tersor inspect`."""

from __future__ import annotations

import unicodedata
from collections.abc import Sequence


def table(columns: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """Return aligned lines: header, rule, rows. A column whose cells are all numbers is set right.

    rows: each as long as `columns`.
    """
    lines = [list(columns), *[list(row) for row in rows]]
    widths = [max(_width(line[i]) for line in lines) for i in range(len(columns))]
    right = [bool(rows) and all(_is_number(row[i]) for row in rows) for i in range(len(columns))]
    text = [_line(line, widths, right) for line in lines]
    return "\n".join([text[0], "  ".join("-" * width for width in widths), *text[1:]])


def _line(cells: Sequence[str], widths: Sequence[int], right: Sequence[bool]) -> str:
    padded = []
    for cell, width, to_right in zip(cells, widths, right, strict=True):
        space = " " * (width - _width(cell))
        padded.append(space + cell if to_right else cell + space)
    return "  ".join(padded).rstrip()


def _width(text: str) -> int:
    """Return how many terminal cells `text` takes."""
    if text.isascii():
        return len(text)
    return sum(
        0 if unicodedata.combining(char) else 2 if unicodedata.east_asian_width(char) in "WF" else 1
        for char in text
    )


def _is_number(cell: str) -> bool:
    return cell in ("", "-") or cell.lstrip("-+.")[:1].isdigit()


def bytes_text(n_bytes: int) -> str:
    """Return a size as people read it: 512 B, 45.1 kB, 90.9 MB (decimal units)."""
    if n_bytes < 1000:
        return f"{n_bytes} B"
    power = min(4, next(power for power in range(1, 8) if n_bytes < 999.95 * 1000**power))
    return f"{n_bytes / 1000**power:.1f} {('kB', 'MB', 'GB', 'TB')[power - 1]}"


def figure(value: object, digits: int = 4) -> str:
    """Return a number to `digits` significant digits, "-" for None, other values as text."""
    if value is None:
        return "-"
    return f"{value:.{digits}g}" if isinstance(value, float) else str(value)


def shape_text(shape: Sequence[int]) -> str:
    """Return a tensor's shape: 384x384, or "scalar"."""
    return "x".join(map(str, shape)) if shape else "scalar"
