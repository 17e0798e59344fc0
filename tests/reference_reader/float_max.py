"""Coder max of float rows: columns have scales, signs and skews too (docs/format.md sections 4.1 and 5.5.2)."""

from dataclasses import dataclass

import numpy as np

from .crc32c import crc32c
from .cursor import Cursor, fixed_width
from .errors import require
from .float_rows import FloatFormat, read_n_streams, split_rows
from .integers import (
    COLUMN_SCALES,
    COLUMN_SHAPES,
    FLOAT_ROW_CLASSES,
    I16,
    ROW_PROFILES,
    lanes_of,
    read_integers,
)
from .rans import LaneDecoder
from .tables import TableSets

N_SKEWS = 5
LEAST_FIELD = 4  # smaller fields are escapes
LONG_ESCAPE = 31


@dataclass(frozen=True)
class Columns:
    """Scale classes and shapes (2 * skew + sign) of a tensor's columns, (profiles, columns) each."""

    scales: np.ndarray
    shapes: np.ndarray

    @classmethod
    def flat(cls, n_columns: int) -> "Columns":
        """The columns of a tensor without a head."""
        return cls(np.zeros((1, n_columns), np.int64), np.zeros((1, n_columns), np.int64))

    @property
    def n_profiles(self) -> int:
        return len(self.scales)

    def tile(self, columns: slice) -> "Columns":
        """Those of a block."""
        return Columns(self.scales[:, columns], self.shapes[:, columns])

    def checksum(self) -> int:
        parts = (
            bytes([self.n_profiles]),
            self.scales.astype("<i2").tobytes(),
            self.shapes.astype("<i2").tobytes(),
        )
        return crc32c(b"".join(parts))


def read_columns(head: bytes, n_columns: int, sets: TableSets, what: str) -> Columns:
    """The head of a dense tensor."""
    cursor = Cursor(head, f"{what}: head")
    n_profiles = cursor.u8()
    require(n_profiles in (1, 2), f"{cursor.what}: {n_profiles} column profiles, 1 or 2 allowed")
    scales = [read_integers(cursor, n_columns, sets, COLUMN_SCALES, I16) for _ in range(n_profiles)]
    greatest = 2 * N_SKEWS - 1
    shapes = [read_integers(cursor, n_columns, sets, COLUMN_SHAPES, (0, greatest)) for _ in range(n_profiles)]
    cursor.finish()
    return Columns(np.array(scales), np.array(shapes))


def read_float_max(
    cursor: Cursor, count: int, float_format: FloatFormat, sets: TableSets, columns: Columns
) -> np.ndarray:
    """`count` 16-bit words in rows of as many as there are columns; the cursor is behind the coder's number."""
    n_columns = columns.scales.shape[1]
    require(count % n_columns == 0, f"{cursor.what}: {count} words are no whole rows of {n_columns}")
    n_rows = count // n_columns
    shape_class = cursor.u8()
    require(shape_class < 4, f"{cursor.what}: shape class {shape_class}, at most 3")
    base = cursor.signed_varint()
    require(I16[0] <= base <= I16[1], f"{cursor.what}: base {base}")
    n_streams = read_n_streams(cursor)
    n_lanes = lanes_of(cursor.u8(), cursor.what)
    row_classes = read_integers(cursor, n_rows, sets, FLOAT_ROW_CLASSES, I16)
    profiles = np.zeros(n_rows, np.int64)
    if columns.n_profiles == 2:
        profiles = read_integers(cursor, n_rows, sets, ROW_PROFILES, (0, 1))
    lengths = [(cursor.varint(), cursor.varint()) for _ in range(n_streams)]
    states = [cursor.array("<u4", n_lanes) for _ in range(n_streams)]
    n_raw_bits = float_format.mantissa_bits - 2
    raw = fixed_width(cursor.bits(count * n_raw_bits), count, n_raw_bits).reshape(n_rows, n_columns)
    escapes = [Cursor(cursor.take(n_bytes), f"{cursor.what}: escapes") for _, n_bytes in lengths]

    scales = row_classes[:, None] + columns.scales[profiles]  # (rows, columns)
    shapes = columns.shapes[profiles]
    numbers = (shape_class * N_SKEWS + (shapes >> 1)) * 4 + (scales & 3)
    tops = np.empty((n_rows, n_columns), np.int64)  # sign and field of u
    bounds = split_rows(n_rows, n_streams)
    tables = sets.kind("float12max").tables
    for stream in range(n_streams):
        rows = slice(bounds[stream], bounds[stream + 1])
        words = cursor.array("<u2", lengths[stream][0])
        decoder = LaneDecoder(tables, states[stream], words, f"{cursor.what}: stream {stream}")
        symbols = decoder.decode(numbers[rows].reshape(-1))
        decoder.finish()
        tops[rows] = _tops(symbols, escapes[stream], float_format).reshape(tops[rows].shape)
        escapes[stream].finish()
    shift = float_format.bias + base + (scales >> 2) - 12
    subtracted = ((shapes & 1) << 15) + (shift << float_format.mantissa_bits)
    return ((tops << n_raw_bits) + raw + subtracted & 0xFFFF).astype(np.uint16).reshape(-1)


def _tops(symbols: np.ndarray, escapes: Cursor, float_format: FloatFormat) -> np.ndarray:
    """Sign and field of each element, as one number: the sign above the E + 2 bits of the field."""
    n_field_bits = float_format.exponent_bits + 2
    tops = (symbols >> 6 << n_field_bits) + (symbols & 63)
    for place in np.flatnonzero(symbols == 0):
        tops[place] = _escape(escapes, float_format)
    return tops


def _escape(escapes: Cursor, float_format: FloatFormat) -> int:
    byte = escapes.u8()
    distance = byte >> 3
    if distance == LONG_ESCAPE:
        distance = escapes.u8()
        require(distance >= LONG_ESCAPE, f"{escapes.what}: distance {distance} needs no second byte")
    n_exponents = 1 << float_format.exponent_bits
    require(distance < n_exponents, f"{escapes.what}: distance {distance}, below {n_exponents} expected")
    return ((byte >> 2 & 1) << float_format.exponent_bits | -distance % n_exponents) << 2 | byte & 3
