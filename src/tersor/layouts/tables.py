"""Entropy tables that a whole file shares (docs/format.md 5.3), and how they are made from histograms."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from functools import lru_cache
from typing import Any

import msgspec
import numpy as np
import numpy.typing as npt

from tersor import _core

# Number of each table in the set of kind "side".
FLOAT_ROW_CLASSES, ROW_EXPONENTS, COLUMN_EXPONENTS, ROW_CLASSES, COLUMN_CLASSES, ZERO_POINTS = range(6)
COLUMN_SCALES, COLUMN_SHAPES, ROW_PROFILES, TRAILING_ZEROS = range(6, 10)
SIDE_TABLES, SIDE_SYMBOLS = 10, 64

Counts = npt.NDArray[np.uint64]


class TableSet(msgspec.Struct, array_like=True, frozen=True):
    """One table set of the index, element by element as docs/format.md 5.3 defines it."""

    kind: str
    symbols: int
    precision: int
    raw_bits: bytes
    frequencies: bytes
    first_class: int = 0
    class_map: bytes = b""

    @property
    def n_tables(self) -> int:
        return len(self.raw_bits)


@lru_cache(maxsize=256)
def compile_tables(tables: TableSet) -> _core.TableSet:
    """Return the tables in the form that the coder uses. Raises: CorruptError if they are not valid."""
    return _core.TableSet(
        tables.symbols,
        tables.precision,
        tables.raw_bits,
        tables.frequencies,
        tables.first_class,
        tables.class_map,
    )


def find_tables(table_sets: Sequence[TableSet], kind: str) -> TableSet | None:
    """Return the first set of a kind, None if there is none."""
    return next((tables for tables in table_sets if tables.kind == kind), None)


def make_table_set(
    kind: str, counts: Counts, precision: int, rare: int, raw_bits: bytes = b"", **extra: Any
) -> TableSet:
    """Return a table set whose frequencies fit `counts` (tables, symbols); symbol 0 is the escape.

    rare: symbols seen less than once in so many elements become escapes; an escape costs bits but an entry
        that is hardly used costs every other symbol some of its share.
    """
    frequencies = np.zeros(counts.shape, np.uint16)
    for count, frequency in zip(counts, frequencies, strict=True):
        _core.normalize(_drop_rare(count, rare), precision, frequency)
    return TableSet(
        kind,
        int(counts.shape[1]),
        precision,
        raw_bits or bytes(counts.shape[0]),
        _core.pack_frequencies(frequencies),
        **extra,
    )


def _drop_rare(count: Counts, rare: int) -> Counts:
    kept: Counts = count.copy()
    dropped = kept * np.uint64(rare) < kept.sum()
    dropped[0] = False
    kept[0] = max(int(kept[0]) + int(kept[dropped].sum()), 1)
    kept[dropped] = 0
    return kept


def make_side_tables(counts: Counts) -> TableSet:
    """Return the set of kind "side" for histograms (tables, 64) of integers after their offset, 32 in the middle."""
    return make_table_set("side", counts, precision=12, rare=16384)


def count_integers(vectors: Iterable[npt.NDArray[Any]]) -> Counts:
    """Histogram (64,) of integer vectors as `integers(n)` codes them: after their median, the rest as escapes."""
    counts = np.zeros(SIDE_SYMBOLS, np.uint64)
    for vector in vectors:
        values = np.ascontiguousarray(vector, np.int32).reshape(-1)
        symbols = values.astype(np.int64) - _core.integers_offset(values) + SIDE_SYMBOLS // 2
        symbols[(symbols < 1) | (symbols >= SIDE_SYMBOLS)] = 0
        counts += np.bincount(symbols, minlength=SIDE_SYMBOLS).astype(np.uint64)
    return counts
