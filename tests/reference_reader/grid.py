"""Layout `grid/1`: integer codes and steps (docs/format.md section 4.2)."""

from dataclasses import dataclass
from typing import Any

import numpy as np

from .codes import read_codes
from .context import FileContext
from .crc32c import crc32c
from .cursor import Cursor
from .dtypes import bf16_to_float32
from .errors import require
from .integers import (
    COLUMN_CLASSES,
    COLUMN_EXPONENTS,
    I16,
    I32,
    ROW_CLASSES,
    ROW_EXPONENTS,
    ZERO_POINTS,
    check_range,
    read_integers,
)
from .tables import TableSet

TRANSPOSED = 1
ROOTS = np.array([1.0, 1.18920707702636718750, 1.41421353816986083984, 1.68179285526275634766], np.float32)
SCALE_TYPES = {"F32": "<f4", "F16": "<f2", "BF16": "<u2"}
MAX_EXPONENT = 480
MAX_CODEBOOK = 1 << 16


@dataclass(frozen=True)
class GridMeta:
    """The layout's parameters."""

    is_transposed: bool
    table_set: TableSet
    group_size: int
    scale_dtype: str
    codebook_length: int
    trellis_rows: int

    @classmethod
    def parse(cls, meta: Any, context: FileContext, what: str) -> "GridMeta":
        require(isinstance(meta, list) and len(meta) >= 6, f"{what}: grid meta is not an array of 6")
        flags, table_set, group_size, scale_dtype, codebook_length, trellis_rows = meta[:6]
        for number in (flags, group_size, codebook_length, trellis_rows):
            require(type(number) is int and number >= 0, f"{what}: grid meta {meta[:6]!r}")
        require(flags & ~TRANSPOSED == 0, f"{what}: grid flags {flags}")
        if group_size:
            require(scale_dtype in SCALE_TYPES, f"{what}: scales of type {scale_dtype!r}")
        else:
            require(scale_dtype == "", f"{what}: scales of type {scale_dtype!r} without groups")
        require(codebook_length <= MAX_CODEBOOK, f"{what}: a codebook of {codebook_length}")
        require(not (codebook_length and trellis_rows), f"{what}: a codebook for trellis codes")
        return cls(
            bool(flags & TRANSPOSED),
            context.sets.number(table_set, "grid"),
            group_size,
            scale_dtype,
            codebook_length,
            trellis_rows,
        )


@dataclass(frozen=True)
class GridHead:
    """Column exponents, column classes and the codebook (or None)."""

    column_exponents: np.ndarray
    column_classes: np.ndarray
    codebook: np.ndarray | None

    def checksum(self) -> int:
        parts = [self.column_exponents.astype("<i2"), self.column_classes.astype("<i2")]
        if self.codebook is not None:
            parts.append(self.codebook.astype("<f4"))
        return crc32c(b"".join(part.tobytes() for part in parts))


def read_head(stored: bytes, n_columns: int, meta: GridMeta, context: FileContext, what: str) -> GridHead:
    cursor = Cursor(stored, f"{what}: head")
    exponents = read_integers(cursor, n_columns, context.sets, COLUMN_EXPONENTS, I16)
    classes = read_integers(cursor, n_columns, context.sets, COLUMN_CLASSES, I16)
    codebook = cursor.array("<f4", meta.codebook_length) if meta.codebook_length else None
    require(codebook is None or bool(np.isfinite(codebook).all()), f"{cursor.what}: codebook is not finite")
    cursor.finish()
    return GridHead(exponents, classes, codebook)


@dataclass(frozen=True)
class GridBlock:
    """The integers of one block and the columns it covers."""

    codes: np.ndarray
    odd: np.ndarray
    row_exponents: np.ndarray
    row_classes: np.ndarray
    scales: np.ndarray
    zero_points: np.ndarray

    def checksum(self) -> int:
        parts = [
            self.codes.astype("<i4"),
            self.row_exponents.astype("<i2"),
            self.row_classes.astype("<i2"),
            self.scales,
            self.zero_points.astype("<i4"),
        ]
        return crc32c(b"".join(part.tobytes() for part in parts))


def read_block(
    stored: bytes,
    n_rows: int,
    columns: slice,
    head: GridHead,
    meta: GridMeta,
    context: FileContext,
    what: str,
) -> GridBlock:
    """The block of `n_rows` rows and the columns `columns`."""
    cursor = Cursor(stored, what)
    row_exponents = read_integers(cursor, n_rows, context.sets, ROW_EXPONENTS, I16)
    row_classes = read_integers(cursor, n_rows, context.sets, ROW_CLASSES, I16)
    n_groups = (columns.stop - columns.start) // meta.group_size if meta.group_size else 0
    scales = np.zeros(0, np.float32)
    zero_points = np.zeros(0, np.int64)
    if n_groups:
        scales = cursor.array(SCALE_TYPES[meta.scale_dtype], n_rows * n_groups)
        is_finite = np.isfinite(_scales_as_float32(scales, meta.scale_dtype)).all()
        require(bool(is_finite), f"{what}: a scale is not finite")
        zero_points = read_integers(cursor, n_rows * n_groups, context.sets, ZERO_POINTS, I32)
    codes, odd = read_codes(
        cursor, row_classes, head.column_classes[columns], meta.table_set, meta.trellis_rows
    )
    cursor.finish()
    return GridBlock(codes, odd, row_exponents, row_classes, scales, zero_points)


def block_values(block: GridBlock, columns: slice, head: GridHead, meta: GridMeta, what: str) -> np.ndarray:
    """The float32 values of a block: one rounding after each operation, from left to right."""
    with np.errstate(over="ignore", under="ignore", invalid="ignore"):
        values = _levels(block, head, meta.trellis_rows > 0, what)
        if meta.group_size:
            n_rows = len(block.codes)
            scales = _scales_as_float32(block.scales, meta.scale_dtype).reshape(n_rows, -1)
            zero_points = block.zero_points.astype(np.float32).reshape(n_rows, -1)
            values = values - np.repeat(zero_points, meta.group_size, axis=1)
            values = values * np.repeat(scales, meta.group_size, axis=1)
        return values * _steps(block.row_exponents[:, None] + head.column_exponents[columns], what)


def _levels(block: GridBlock, head: GridHead, is_trellis: bool, what: str) -> np.ndarray:
    codes = block.codes
    if head.codebook is not None:
        is_within = not codes.size or (codes.min() >= 0 and codes.max() < len(head.codebook))
        require(bool(is_within), f"{what}: a code is outside the codebook of {len(head.codebook)}")
        return head.codebook.astype(np.float32)[codes]
    if is_trellis:
        return (2 * codes - np.where(block.odd, np.sign(codes), 0)).astype(np.float32)
    return codes.astype(np.float32)


def _scales_as_float32(scales: np.ndarray, scale_dtype: str) -> np.ndarray:
    return bf16_to_float32(scales) if scale_dtype == "BF16" else scales.astype(np.float32)


def _steps(exponents: np.ndarray, what: str) -> np.ndarray:
    """root[e & 3] * 2**(e >> 2) as float32, which is exact for the exponents that are allowed."""
    check_range(exponents, (-MAX_EXPONENT, MAX_EXPONENT), f"{what}: exponents")
    return np.ldexp(ROOTS[exponents & 3], exponents >> 2)
