"""Entropy tables for grids: histograms of codes by class, merged until every table pays for itself.

One set of static tables serves a whole file: at 3 bits per weight that is better than ideal adaptive codes per
tensor (docs/design.md), and the decoder never has to adapt.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise

import numpy as np
import numpy.typing as npt

from tersor import _core
from tersor.layouts.grid import Grid
from tersor.layouts.tables import (
    COLUMN_CLASSES,
    COLUMN_EXPONENTS,
    ROW_CLASSES,
    ROW_EXPONENTS,
    SIDE_SYMBOLS,
    SIDE_TABLES,
    ZERO_POINTS,
    Counts,
    TableSet,
    count_integers,
    make_table_set,
)

FIRST_CLASS, N_CLASSES = -128, 256  # quarter octaves of the expected size of a code: 2**-32 .. 2**32
RANGE = 2047  # codes beyond are counted together: they will be escapes
SYMBOLS = 64
RARE = 16384
MAX_RAW_BITS = 8
_ESCAPE_BITS = 8 + 8  # a varint of one or two bytes, besides the escape symbol itself
_TABLE_BITS, _ENTRY_BITS = 60.0, 8.0  # what a table and each of its entries cost in the (compressed) index

Floats = npt.NDArray[np.float64]


@dataclass(slots=True)
class _Group:
    """Neighbouring classes that share a table."""

    counts: Floats  # (2 RANGE + 1,)
    outside: float
    bits: float
    raw_bits: int
    last: int
    symbols: int


def count_codes(grid: Grid, first_class: int, counts: Counts, outside: Counts) -> None:
    """Add a grid's codes to histograms by trellis half and class; classes beyond are clamped to the ends.

    counts: (halves, classes, 2 range + 1), of the codes within +-range; outside: (halves, classes), of the others.
    halves: 2 for trellis codes, even states first; else 1.
    """
    _core.count_codes(
        np.ascontiguousarray(grid.codes, np.int32),
        np.ascontiguousarray(grid.row_classes, np.int32),
        np.ascontiguousarray(grid.column_classes, np.int32),
        grid.trellis_rows,
        first_class,
        counts,
        outside,
    )


class GridCounts:
    """Collects the histograms of all grids of a file, then makes its tables.

    Memory: 8 MB, with trellis codes 16, whatever the number and size of the grids.
    """

    def __init__(self) -> None:
        self._counts: dict[int, Counts] = {}
        self._outside: dict[int, Counts] = {}
        self.side_counts = np.zeros((SIDE_TABLES, SIDE_SYMBOLS), np.uint64)

    def add(self, grid: Grid) -> None:
        """Count a grid's codes, exponents and classes."""
        halves = 2 if grid.trellis_rows else 1
        if halves not in self._counts:
            self._counts[halves] = np.zeros((halves, N_CLASSES, 2 * RANGE + 1), np.uint64)
            self._outside[halves] = np.zeros((halves, N_CLASSES), np.uint64)
        count_codes(grid, FIRST_CLASS, self._counts[halves], self._outside[halves])
        for number, vector in (
            (ROW_EXPONENTS, grid.row_exponents),
            (COLUMN_EXPONENTS, grid.column_exponents),
            (ROW_CLASSES, grid.row_classes),
            (COLUMN_CLASSES, grid.column_classes),
            (ZERO_POINTS, grid.zero_points),
        ):
            if vector is not None and vector.size:
                self.side_counts[number] += count_integers([vector])

    def tables(self) -> list[TableSet]:
        """Return the grid table sets: that of plain codes, then that of trellis codes, of those that were counted."""
        return [
            make_class_tables("grid", self._counts[halves], self._outside[halves], SYMBOLS)
            for halves in sorted(self._counts)
        ]


def make_class_tables(kind: str, counts: Counts, outside: Counts, symbols: int) -> TableSet:
    """Return the table set, with its class map, for codes counted by class.

    counts: (halves, classes, 2 RANGE + 1); outside: codes beyond RANGE, (halves, classes); see _core.count_codes.
    symbols: of each table.
    """
    numbers: list[int] = []
    groups: list[_Group] = []
    for half_counts, half_outside in zip(counts, outside, strict=True):
        merged = _merge(half_counts, half_outside, symbols)
        numbers += _class_numbers(merged, len(groups))
        groups += merged
    first, last = _used_classes(numbers, len(counts))
    class_map = np.array(numbers, np.uint8).reshape(len(counts), N_CLASSES)[:, first : last + 1]
    return make_table_set(
        kind,
        np.stack([_fold(group, group.raw_bits) for group in groups]),
        precision=12,
        rare=RARE,
        raw_bits=bytes(group.raw_bits for group in groups),
        first_class=FIRST_CLASS + first,
        class_map=class_map.tobytes(),
    )


def _merge(counts: Counts, outside: Counts, symbols: int) -> list[_Group]:
    """Join neighbouring classes, best first, while that saves bits: table bits against a looser fit."""
    groups = [
        _make_group(row.astype(np.float64), float(outside[c]), int(c), symbols)
        for c, row in enumerate(counts)
        if outside[c] or row.any()
    ]
    if not groups:
        groups = [
            _make_group(
                np.bincount([RANGE], minlength=2 * RANGE + 1).astype(np.float64), 0.0, N_CLASSES - 1, symbols
            )
        ]
    joined = [_join(a, b) for a, b in pairwise(groups)]
    while joined:
        savings = [a.bits + b.bits - ab.bits for (a, b), ab in zip(pairwise(groups), joined, strict=True)]
        best = int(np.argmax(savings))
        if savings[best] <= 0 and len(groups) <= 120:
            break
        groups[best : best + 2] = [joined[best]]
        del joined[best]
        if best > 0:
            joined[best - 1] = _join(groups[best - 1], groups[best])
        if best < len(groups) - 1:
            joined[best] = _join(groups[best], groups[best + 1])
    return groups


def _join(a: _Group, b: _Group) -> _Group:
    return _make_group(a.counts + b.counts, a.outside + b.outside, b.last, a.symbols)


def _make_group(counts: Floats, outside: float, last: int, symbols: int) -> _Group:
    """The group with the number of raw bits that codes it best."""
    group = _Group(counts, outside, np.inf, 0, last, symbols)
    for raw_bits in range(MAX_RAW_BITS + 1):
        bits = _code_bits(_fold(group, raw_bits).astype(np.float64)) + raw_bits * (counts.sum() + outside)
        if bits < group.bits:
            group.bits, group.raw_bits = float(bits), raw_bits
    return group


def _fold(group: _Group, raw_bits: int) -> Counts:
    """Histogram (symbols,) of the symbols that the codes have when `raw_bits` low bits are split off."""
    n_symbols = group.symbols
    reach = n_symbols // 2 - 1
    symbols = np.zeros(n_symbols, np.uint64)
    symbols[0] = int(group.outside)
    if raw_bits == 0:
        middle = group.counts[RANGE - reach : RANGE + reach + 1]
        symbols[1:] = middle
        symbols[0] += np.uint64(group.counts.sum() - middle.sum())
        return symbols
    index = (np.arange(-RANGE, RANGE + 1) >> raw_bits) + n_symbols // 2
    index[(index < 1) | (index >= n_symbols)] = 0
    symbols += np.bincount(index, weights=group.counts, minlength=n_symbols).astype(np.uint64)
    return symbols


def _code_bits(symbols: Floats) -> float:
    """Bits of the symbols under their own 12-bit table, of the escapes, and of the table itself."""
    total = symbols.sum()
    rare = symbols * RARE < total
    rare[0] = False
    kept = np.where(rare, 0.0, symbols)
    kept[0] += symbols[rare].sum()
    escapes = kept[0]
    share = np.maximum(kept / max(total, 1.0), 1 / 4096)
    used = kept > 0
    used[0] = True
    share /= share[used].sum()
    bits = -(kept[used] * np.log2(share[used])).sum() + escapes * _ESCAPE_BITS
    return float(bits + _TABLE_BITS + _ENTRY_BITS * used.sum())


def _class_numbers(groups: list[_Group], first_number: int) -> list[int]:
    """Table number of every class; classes without codes take the table of the next wider group."""
    numbers = []
    current = 0
    for c in range(N_CLASSES):
        while current < len(groups) - 1 and c > groups[current].last:
            current += 1
        numbers.append(first_number + current)
    return numbers


def _used_classes(numbers: list[int], halves: int) -> tuple[int, int]:
    """First and last class that the map must list; outside, the map's ends repeat."""
    maps = np.array(numbers).reshape(halves, N_CLASSES)
    changes = np.flatnonzero((np.diff(maps, axis=1) != 0).any(axis=0))
    return (int(changes[0]), int(changes[-1]) + 1) if len(changes) else (0, 0)
