"""Signed integers: section 5.4 of docs/format.md, and what it shares with codes (5.6)."""

import numpy as np

from .cursor import Cursor, fixed_width
from .errors import FormatError, require
from .rans import LANE_COUNTS, LaneDecoder
from .tables import TableSets

I16 = (-(1 << 15), (1 << 15) - 1)
I32 = (-(1 << 31), (1 << 31) - 1)
FLOAT_ROW_CLASSES, ROW_EXPONENTS, COLUMN_EXPONENTS, ROW_CLASSES, COLUMN_CLASSES, ZERO_POINTS = range(6)
COLUMN_SCALES, COLUMN_SHAPES, ROW_PROFILES, TRAILING_ZEROS = range(6, 10)


def lanes_of(log2_lanes: int, what: str) -> int:
    """2**log2_lanes, one of the allowed numbers of lanes."""
    require(log2_lanes < len(LANE_COUNTS), f"{what}: 2**{log2_lanes} lanes, at most {LANE_COUNTS[-1]}")
    return LANE_COUNTS[log2_lanes]


# The difference of two i32, which an integer and its offset may have, takes 33 bits.
MAX_HIGH = 1 << 33


def high_parts(symbols: np.ndarray, n_symbols: int, escapes: Cursor) -> np.ndarray:
    """h of each element: symbol - K/2, or the next zigzag varint of `escapes` for symbol 0."""
    values = symbols - n_symbols // 2
    for place in np.flatnonzero(symbols == 0):
        value = escapes.signed_varint()
        require(abs(value) <= MAX_HIGH, f"{escapes.what}: escape {value} reaches beyond any 32-bit integer")
        values[place] = value
    return values


def check_range(values: np.ndarray, limits: tuple[int, int], what: str) -> np.ndarray:
    """`values`, all of them within `limits`."""
    if len(values):
        low, high = int(values.min()), int(values.max())
        if low < limits[0] or high > limits[1]:
            raise FormatError(f"{what}: values {low}..{high} are outside {limits[0]}..{limits[1]}")
    return values


def read_integers(
    cursor: Cursor, count: int, sets: TableSets, table: int, limits: tuple[int, int]
) -> np.ndarray:
    """`integers(count)` with table `table` of the `side` set, as int64."""
    what = f"{cursor.what}: integers({count})"
    mode = cursor.u8()
    offset = cursor.signed_varint()
    require(limits[0] <= offset <= limits[1], f"{what}: offset {offset} is outside {limits[0]}..{limits[1]}")
    if mode == 0:
        require(count > 0 or offset == 0, f"{what}: offset {offset} without integers")
        return np.full(count, offset, np.int64)
    require(count > 0, f"{what}: mode {mode} without integers")
    return check_range(offset + _coded(cursor, count, mode, sets, table, what), limits, what)


def _coded(cursor: Cursor, count: int, mode: int, sets: TableSets, table: int, what: str) -> np.ndarray:
    n_lanes = lanes_of(mode - 1, what)
    n_words, n_escape_bytes = cursor.varint(), cursor.varint()
    tables = sets.kind("side").tables
    require(table < len(tables), f"{what}: side table {table}, the file has {len(tables)}")
    raw_bits = int(tables.raw_bits[table])
    states = cursor.array("<u4", n_lanes)
    low = fixed_width(cursor.bits(count * raw_bits), count, raw_bits)
    escapes = Cursor(cursor.take(n_escape_bytes), f"{what}: escapes")
    decoder = LaneDecoder(tables, states, cursor.array("<u2", n_words), what)
    symbols = decoder.decode(np.full(count, table))
    decoder.finish()
    high = high_parts(symbols, tables.n_symbols, escapes)
    escapes.finish()
    return (high << raw_bits) + low
