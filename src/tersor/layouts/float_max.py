"""Level max: a float tensor's columns as the head of its stream, and its blocks (docs/format.md 4.1 and 5.5)."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import numpy as np
import numpy.typing as npt

from tersor import _core
from tersor.errors import CorruptError
from tersor.layouts.base import Context, EncodedBlock
from tersor.layouts.float_words import UNITS, WORD_FORMAT
from tersor.layouts.tables import (
    COLUMN_SCALES,
    COLUMN_SHAPES,
    FLOAT_ROW_CLASSES,
    ROW_PROFILES,
    TRAILING_ZEROS,
    Counts,
    TableSet,
    compile_tables,
    count_integers,
    find_tables,
)

N_TABLES, SYMBOLS = 80, 128
CODER = 2
N_STREAMS = 1  # a second one would cost its states; one keeps the gathers of a vector decoder busy
MAX_COLUMN_SHAPE = 9
_INT16 = (-(1 << 15), (1 << 15) - 1)

Ints = npt.NDArray[np.int32]
Words = npt.NDArray[np.uint16]


@dataclass(frozen=True, slots=True)
class Columns:
    """Scales and shapes of a tensor's columns: int32 (profiles, columns) each."""

    scale: Ints
    shape: Ints

    def tile(self, first: int, n: int) -> Columns:
        """Columns first .. first + n - 1, contiguous."""
        part = slice(first, first + n)
        return Columns(np.ascontiguousarray(self.scale[:, part]), np.ascontiguousarray(self.shape[:, part]))


def word_matrix(dtype: str, matrix: npt.NDArray[Any]) -> Words:
    """Return the 16-bit words of a float matrix (rows, columns) without a copy; the upper halves of F32."""
    words: Words = matrix.view("<u2")
    return words[:, 1::2] if UNITS[dtype] == 2 else words


def encode_head(model: _core.FloatModel, side: TableSet) -> tuple[bytes, int]:
    """Return the head for a model and its CRC-32C; (b"", 0) if all columns are alike."""
    scale, shape = model.column_scale, model.column_shape
    if model.profiles == 1 and not scale.any() and not shape.any():
        return b"", 0
    compiled = compile_tables(side)
    n_columns = len(scale) // model.profiles
    head = [bytes((model.profiles,))]
    for values, table in ((scale, COLUMN_SCALES), (shape, COLUMN_SHAPES)):
        for profile in range(model.profiles):
            part = values[profile * n_columns : (profile + 1) * n_columns]
            head.append(_core.encode_integers(np.ascontiguousarray(part), compiled, table))
    return b"".join(head), _head_crc(model.profiles, scale, shape)


def decode_head(head: memoryview, crc: int, n_columns: int, side: TableSet | None, where: str) -> Columns:
    """Return the columns that a head holds. Raises: CorruptError."""
    if side is None or side.n_tables <= COLUMN_SHAPES:
        raise CorruptError(f"{where}: the index lacks the side tables of its columns; the file is damaged")
    data = np.frombuffer(head, np.uint8)
    profiles = int(data[0])
    if profiles not in (1, 2):
        raise CorruptError(f"{where}: {profiles} column profiles; needs 1 or 2")
    scale, shape = np.empty((profiles, n_columns), np.int32), np.empty((profiles, n_columns), np.int32)
    data = data[1:]
    try:
        for values, table, limits in (
            (scale, COLUMN_SCALES, _INT16),
            (shape, COLUMN_SHAPES, (0, MAX_COLUMN_SHAPE)),
        ):
            for row in values:
                used = _core.decode_integers(data, compile_tables(side), table, *limits, row)
                data = data[used:]
    except CorruptError as exc:
        raise CorruptError(f"{where}: {exc}; the file is damaged") from exc
    if len(data):
        raise CorruptError(f"{where}: {len(data)} bytes left over; the file is damaged")
    got = _head_crc(profiles, scale, shape)
    if got != crc:
        raise CorruptError(
            f"{where}: CRC-32C is {got:#010x}, the index says {crc:#010x}; the file is damaged"
        )
    return Columns(scale, shape)


def flat_columns(n_columns: int) -> Columns:
    """The columns of a tensor without a head."""
    return Columns(np.zeros((1, n_columns), np.int32), np.zeros((1, n_columns), np.int32))


def _head_crc(profiles: int, scale: Ints, shape: Ints) -> int:
    crc = _core.crc32c(np.array([profiles], np.uint8))
    for values in (scale, shape):
        crc = _core.crc32c(values.reshape(-1).astype("<i2").view(np.uint8), crc)
    return crc


@dataclass(frozen=True, slots=True)
class PlacedModel:
    """A tensor's model and where in its matrix a block begins."""

    model: _core.FloatModel
    first_row: int
    first_column: int


@lru_cache(maxsize=16)
def compile_codes(tables: TableSet) -> _core.MaxCodeTables:
    """Return tables of kind float12max in the form that the encoder uses."""
    return _core.MaxCodeTables(compile_tables(tables))


def encode_block(
    dtype: str, block: npt.NDArray[Any], placed: PlacedModel, lanes: int, context: Context
) -> EncodedBlock | None:
    """Return a block (rows, columns), contiguous, as float rows; None if another form may make it smaller."""
    tables, side = (find_tables(context.table_sets, kind) for kind in ("float12max", "side"))
    assert tables is not None and side is not None
    rows, columns = block.shape
    payload, crc = _core.encode_float_max_block(
        block.reshape(-1).view(np.uint8),
        rows,
        columns,
        UNITS[dtype],
        placed.model,
        placed.first_row,
        placed.first_column,
        N_STREAMS,
        lanes,
        compile_codes(tables),
        compile_tables(side),
        FLOAT_ROW_CLASSES,
        ROW_PROFILES,
        context.next_number("raw"),
        side.n_tables > TRAILING_ZEROS,
    )
    if payload and dtype == "F32":
        context.codec_number("raw")  # of the lower halves
    return EncodedBlock(payload, crc) if payload else None


def encode_words(
    words: Words, unit: int, placed: PlacedModel, n_streams: int, lanes: int, tables: TableSet, side: TableSet
) -> bytes:
    """Return the payload of a block of words (rows, columns), contiguous."""
    return _core.encode_float_max(
        words,
        WORD_FORMAT[unit],
        placed.model,
        placed.first_row,
        placed.first_column,
        n_streams,
        lanes,
        compile_tables(tables),
        compile_tables(side),
        FLOAT_ROW_CLASSES,
        ROW_PROFILES,
    )


def decode_words(
    payload: npt.NDArray[np.uint8], unit: int, columns: Columns, tables: TableSet, side: TableSet, out: Words
) -> None:
    """Fill out (rows, columns) from a payload. Raises: CorruptError."""
    if side.n_tables <= ROW_PROFILES:
        raise CorruptError("the index lacks the side tables of level max")
    _core.decode_float_max(
        payload,
        WORD_FORMAT[unit],
        columns.scale,
        columns.shape,
        compile_tables(tables),
        compile_tables(side),
        FLOAT_ROW_CLASSES,
        ROW_PROFILES,
        out,
    )


def count_side(model: _core.FloatModel, side: Counts) -> None:
    """Add the integers that a model's head and blocks will hold to the side counts."""
    side[FLOAT_ROW_CLASSES] += count_integers([model.row_class])
    side[ROW_PROFILES] += count_integers([model.row_profile])
    side[COLUMN_SCALES] += count_integers([model.column_scale])
    side[COLUMN_SHAPES] += count_integers([model.column_shape])


def costs_of(counts: Counts) -> npt.NDArray[np.float32]:
    """Return the bits of each symbol (tables, symbols) under the tables that the counts would give."""
    smoothed = counts.astype(np.float64) + 0.05
    bits = -np.log2(smoothed / smoothed.sum(axis=1, keepdims=True))
    bits = np.minimum(bits, 14.0)
    bits[:, 0] += 11.0  # the bytes of an escape
    costs: npt.NDArray[np.float32] = bits.astype(np.float32)
    return costs
