"""Layout `grid/1`: codes and steps as a head and blocks (docs/format.md 4.2)."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import partial
from math import lcm
from typing import Any

import ml_dtypes
import msgspec
import numpy as np
import numpy.typing as npt

from tersor import _core
from tersor.errors import CorruptError, NewerFormatError, UsageError
from tersor.layouts.base import MAX_BLOCK_ELEMENTS, Context, Encoded, EncodedBlock, matrix_shape
from tersor.layouts.geometry import (
    GRID_BLOCK_ELEMENTS,
    LANE_MULTIPLE,
    Blocks,
    choose_blocks,
    choose_lanes,
    choose_streams,
)
from tersor.layouts.grid import MAX_EXPONENT, Grid, dequantize
from tersor.layouts.integer_reader import At, IntegerReader, Ints
from tersor.layouts.tables import (
    COLUMN_CLASSES,
    COLUMN_EXPONENTS,
    ROW_CLASSES,
    ROW_EXPONENTS,
    ZERO_POINTS,
    TableSet,
    compile_tables,
    find_tables,
)
from tersor.types import TensorSpec

SCALE_DTYPES = {
    "F32": np.dtype(np.float32),
    "F16": np.dtype(np.float16),
    "BF16": np.dtype(ml_dtypes.bfloat16),
}
MAX_CODEBOOK = 1 << 16
GRID_DTYPES = ("F32", "F16", "BF16", "F64")
_INT16 = (-(1 << 15), (1 << 15) - 1)
_INT32 = (-(1 << 31), (1 << 31) - 1)


class GridMeta(msgspec.Struct, array_like=True, frozen=True):
    """`meta` of a grid tensor in the index."""

    flags: int
    table_set: int
    group_size: int
    scale_dtype: str
    codebook_length: int
    trellis_rows: int

    @property
    def transposed(self) -> bool:
        return bool(self.flags & 1)


class GridLayout:
    """Encodes Grids with the file's tables and decodes them block by block."""

    def encode(self, spec: TensorSpec, value: Any, context: Context) -> Encoded:
        """Encode a Grid. Raises: UsageError if it does not fit the spec or exponents are out of range."""
        if not isinstance(value, Grid):
            raise UsageError(f"tensor {spec.name!r}: layout grid/1 encodes Grid, got {type(value).__name__}")
        number, tables, side = _tables_for_writing(spec, value, context)
        meta = GridMeta(
            int(value.transposed),
            number,
            value.group_size,
            _scale_dtype(spec, value),
            0 if value.codebook is None else len(value.codebook),
            value.trellis_rows,
        )
        if value.shape != self.matrix_shape(spec, meta):
            raise UsageError(
                f"tensor {spec.name!r}: codes of shape {value.shape} do not fit shape {spec.shape}"
            )
        _check_exponents(spec, value)
        blocks = _choose_grid_blocks(spec, value)
        if blocks.rows == 0:
            return Encoded("grid/1", meta, b"", 0, 0, 0, iter(()))
        compiled_side = compile_tables(side)
        head, head_crc = _encode_head(value, compiled_side)
        jobs = _block_jobs(value, blocks, compile_tables(tables), compiled_side)
        return Encoded("grid/1", meta, head, head_crc, blocks.rows, blocks.columns, jobs)

    def matrix_shape(self, spec: TensorSpec, meta: Any) -> tuple[int, int]:
        """(rows, columns) of the codes. Raises: CorruptError, NewerFormatError."""
        grid_meta = _parse_meta(spec, meta)
        if not grid_meta.transposed:
            return matrix_shape(spec)
        if len(spec.shape) < 2:
            raise CorruptError(f"tensor {spec.name!r}: a grid of shape {spec.shape} cannot be transposed")
        return matrix_shape(
            TensorSpec(spec.name, spec.dtype, (*spec.shape[:-2], spec.shape[-1], spec.shape[-2]))
        )

    def decoder(
        self, spec: TensorSpec, meta: Any, head: memoryview, head_crc: int, context: Context
    ) -> GridDecoder:
        """Read the head. Raises: CorruptError, NewerFormatError."""
        return GridDecoder(
            spec, _parse_meta(spec, meta), self.matrix_shape(spec, meta)[1], head, head_crc, context
        )


class GridDecoder:
    """Decodes the blocks of one grid tensor."""

    def __init__(
        self,
        spec: TensorSpec,
        meta: GridMeta,
        columns: int,
        head: memoryview,
        head_crc: int,
        context: Context,
    ) -> None:
        self._spec, self._meta = spec, meta
        if spec.n_elements == 0:
            if len(head):
                raise CorruptError(f"tensor {spec.name!r}: has no elements but a head of {len(head)} bytes")
            return  # no block will be asked for
        side = find_tables(context.table_sets, "side")
        if side is None or meta.table_set >= len(context.table_sets):
            raise CorruptError(f"tensor {spec.name!r}: the index lacks the entropy tables of its grid")
        tables = context.table_sets[meta.table_set]
        if tables.kind != "grid":
            raise NewerFormatError(
                f"tensor {spec.name!r}: table set of kind {tables.kind!r}; a grid needs 'grid'"
            )
        if side.n_tables <= (ZERO_POINTS if meta.group_size else COLUMN_CLASSES):
            raise CorruptError(f"tensor {spec.name!r}: the side tables end before those of grids")
        self._tables, self._side = compile_tables(tables), compile_tables(side)
        reader = IntegerReader(head, self._side, f"tensor {spec.name!r}, head")
        self._column_exponents = reader.integers(columns, COLUMN_EXPONENTS, _INT16)
        self._column_classes = reader.integers(columns, COLUMN_CLASSES, _INT16)
        codebook = reader.bytes(4 * meta.codebook_length)
        reader.expect_end()
        crc = _crc(self._column_exponents.astype("<i2"), self._column_classes.astype("<i2"), codebook)
        _check_crc(f"tensor {spec.name!r}, head", crc, head_crc)
        self._codebook = np.frombuffer(codebook, "<f4") if meta.codebook_length else None
        if self._codebook is not None and not np.isfinite(self._codebook).all():
            raise CorruptError(
                f"tensor {spec.name!r}, head: the codebook holds NaN or infinity; the file is damaged"
            )

    def decode(
        self, payload: memoryview, crc: int, first_row: int, first_column: int, out: npt.NDArray[Any]
    ) -> None:
        """Fill out with the values of one block."""
        grid = self.decode_grid(payload, crc, first_row, first_column, out.shape)
        if out.dtype in (np.float32, ml_dtypes.bfloat16) and out.flags.c_contiguous:
            dequantize(grid, out)
            return
        values = np.empty(out.shape, np.float32)
        dequantize(grid, values)
        with np.errstate(over="ignore"):  # float16 overflows to infinity, as the format says
            np.copyto(out, values.astype(out.dtype))

    def decode_grid(
        self, payload: memoryview, crc: int, first_row: int, first_column: int, shape: tuple[int, ...]
    ) -> Grid:
        """Return one block as a Grid of its own (what a quantized runtime computes from)."""
        rows, columns = shape
        where = f"tensor {self._spec.name!r}, block at row {first_row}, column {first_column}"
        self._check_place(where, first_row, first_column, columns)
        reader = IntegerReader(payload, self._side, where)
        row_exponents = reader.integers(rows, ROW_EXPONENTS, _INT16)
        row_classes = reader.integers(rows, ROW_CLASSES, _INT16)
        scales = zero_points = None
        scale_bytes = b""
        if self._meta.group_size:
            groups = (rows, columns // self._meta.group_size)
            dtype = SCALE_DTYPES[self._meta.scale_dtype]
            scale_bytes = reader.bytes(groups[0] * groups[1] * dtype.itemsize)
            scales = np.frombuffer(scale_bytes, dtype).reshape(groups)
            zero_points = reader.integers(groups[0] * groups[1], ZERO_POINTS, _INT32).reshape(groups)
        tile = slice(first_column, first_column + columns)
        codes = np.empty((rows, columns), np.int32)
        with At(where):
            _core.decode_codes(
                reader.rest(),
                row_classes,
                np.ascontiguousarray(self._column_classes[tile]),
                self._meta.trellis_rows,
                self._tables,
                codes,
            )
        checked: list[bytes | npt.NDArray[Any]] = [
            codes.astype("<i4", copy=False),
            row_exponents.astype("<i2"),
            row_classes.astype("<i2"),
            scale_bytes,
        ]
        if zero_points is not None:
            checked.append(zero_points.astype("<i4", copy=False))
        _check_crc(where, _crc(*checked), crc)
        if scales is not None and not np.isfinite(scales.astype(np.float32)).all():
            raise CorruptError(f"{where}: a scale is NaN or infinite; the file is damaged")
        column_exponents = self._column_exponents[tile]
        _check_steps(where, row_exponents, column_exponents)
        if self._codebook is not None and ((codes < 0) | (codes >= len(self._codebook))).any():
            raise CorruptError(f"{where}: a code lies outside the codebook of {len(self._codebook)} entries")
        return Grid(
            codes,
            row_exponents,
            column_exponents,
            row_classes,
            self._column_classes[tile],
            self._meta.trellis_rows,
            self._meta.transposed,
            self._codebook,
            self._meta.group_size,
            scales,
            zero_points,
        )

    def _check_place(self, where: str, first_row: int, first_column: int, columns: int) -> None:
        """Refuse blocks that cut through a group of columns or a run of trellis rows."""
        group, run = self._meta.group_size or 1, self._meta.trellis_rows or 1
        if first_column % group or columns % group or first_row % run:
            raise CorruptError(
                f"{where}, {columns} columns: needs multiples of group_size={self._meta.group_size} columns "
                f"and trellis_rows={self._meta.trellis_rows} rows; the index is damaged"
            )


def _choose_grid_blocks(spec: TensorSpec, grid: Grid) -> Blocks:
    """Blocks that hold whole groups of columns and whole runs of trellis rows."""
    row_multiple, column_multiple = max(grid.trellis_rows, 1), lcm(grid.group_size or 1, LANE_MULTIPLE)
    blocks = choose_blocks(*grid.shape, GRID_BLOCK_ELEMENTS, row_multiple, column_multiple)
    if blocks.rows * blocks.columns > MAX_BLOCK_ELEMENTS:
        raise UsageError(
            f"tensor {spec.name!r}: trellis_rows={grid.trellis_rows} by group_size={grid.group_size} need blocks "
            f"of {blocks.rows} x {blocks.columns} codes; the format allows {MAX_BLOCK_ELEMENTS}; use smaller groups"
        )
    return blocks


def _encode_head(grid: Grid, side: _core.TableSet) -> tuple[bytes, int]:
    """The head of a grid and its CRC-32C."""
    exponents, classes = _ints(grid.column_exponents), _ints(grid.column_classes)
    codebook = b"" if grid.codebook is None else np.ascontiguousarray(grid.codebook, "<f4").tobytes()
    head = (
        _core.encode_integers(exponents, side, COLUMN_EXPONENTS)
        + _core.encode_integers(classes, side, COLUMN_CLASSES)
        + codebook
    )
    return head, _crc(exponents.astype("<i2"), classes.astype("<i2"), codebook)


def _block_jobs(
    grid: Grid, blocks: Blocks, tables: _core.TableSet, side: _core.TableSet
) -> Iterator[Callable[[], EncodedBlock]]:
    rows, columns = grid.shape
    for first_row in range(0, rows, blocks.rows):
        band = grid.rows(first_row, min(first_row + blocks.rows, rows))
        for first_column in range(0, columns, blocks.columns):
            yield partial(
                _encode_block, band, slice(first_column, first_column + blocks.columns), tables, side
            )


def _encode_block(band: Grid, tile: slice, tables: _core.TableSet, side: _core.TableSet) -> EncodedBlock:
    codes = np.ascontiguousarray(band.codes[:, tile], np.int32)
    row_exponents, row_classes = _ints(band.row_exponents), _ints(band.row_classes)
    parts = [
        _core.encode_integers(row_exponents, side, ROW_EXPONENTS),
        _core.encode_integers(row_classes, side, ROW_CLASSES),
    ]
    checked: list[Any] = [
        codes.astype("<i4", copy=False),
        row_exponents.astype("<i2"),
        row_classes.astype("<i2"),
    ]
    if band.group_size:
        assert band.group_scales is not None and band.zero_points is not None
        groups = slice(tile.start // band.group_size, -(-tile.stop // band.group_size))
        scales = np.ascontiguousarray(band.group_scales[:, groups]).tobytes()
        zero_points = _ints(band.zero_points[:, groups])
        parts += [scales, _core.encode_integers(zero_points.reshape(-1), side, ZERO_POINTS)]
        checked += [scales, zero_points.astype("<i4", copy=False)]
    n_runs = -(-len(codes) // max(band.trellis_rows, 1))
    n_streams = min(choose_streams(codes.size), n_runs)  # a stream of no rows would cost its states
    parts.append(
        _core.encode_codes(
            codes,
            row_classes,
            _ints(band.column_classes[tile]),
            band.trellis_rows,
            n_streams,
            choose_lanes(codes.size, n_streams),
            tables,
        )
    )
    return EncodedBlock(b"".join(parts), _crc(*checked))


def _tables_for_writing(spec: TensorSpec, grid: Grid, context: Context) -> tuple[int, TableSet, TableSet]:
    """The grid tables (with their number) and the side tables for a grid.

    Of two grid sets the first is for plain codes, the second for trellis codes, as `GridCounts.tables` makes them.
    """
    numbers = [i for i, tables in enumerate(context.table_sets) if tables.kind == "grid"]
    side = find_tables(context.table_sets, "side")
    if not numbers or side is None:
        raise UsageError(
            f"tensor {spec.name!r}: a grid needs tables; make them with layouts.file_tables.FileCounts"
        )
    number = numbers[-1 if grid.trellis_rows else 0]
    return number, context.table_sets[number], side


def _parse_meta(spec: TensorSpec, meta: Any) -> GridMeta:
    try:
        grid_meta = meta if isinstance(meta, GridMeta) else msgspec.convert(meta, GridMeta)
    except msgspec.ValidationError as exc:
        raise CorruptError(f"tensor {spec.name!r}: parameters of its grid: {exc}") from exc
    _check_meta(spec, grid_meta)
    return grid_meta


def _check_meta(spec: TensorSpec, meta: GridMeta) -> None:
    if meta.flags & ~1:
        raise NewerFormatError(
            f"tensor {spec.name!r}: grid flags {meta.flags:#x}; this tersor knows bit 0 only"
        )
    if spec.dtype not in GRID_DTYPES:
        raise CorruptError(
            f"tensor {spec.name!r}: a grid of dtype {spec.dtype}; needs one of {', '.join(GRID_DTYPES)}"
        )
    columns = (spec.shape or (1,))[-2 if meta.flags & 1 and len(spec.shape) > 1 else -1]
    valid = (
        0 <= meta.codebook_length <= MAX_CODEBOOK
        and 0 <= meta.trellis_rows < 1 << 31
        and not (meta.codebook_length and meta.trellis_rows)
        and meta.table_set >= 0
        and meta.group_size >= 0
        and (columns % meta.group_size == 0 if meta.group_size else True)
        and (meta.scale_dtype in SCALE_DTYPES if meta.group_size else meta.scale_dtype == "")
    )
    if not valid:
        raise CorruptError(f"tensor {spec.name!r}: impossible grid parameters {meta}; the index is damaged")


def _scale_dtype(spec: TensorSpec, grid: Grid) -> str:
    if not grid.group_size:
        return ""
    assert grid.group_scales is not None
    for name, dtype in SCALE_DTYPES.items():
        if grid.group_scales.dtype == dtype:
            return name
    raise UsageError(
        f"tensor {spec.name!r}: scales of dtype {grid.group_scales.dtype}; needs {', '.join(SCALE_DTYPES)}"
    )


def _check_exponents(spec: TensorSpec, grid: Grid) -> None:
    if grid.codes.size:
        low = int(grid.row_exponents.min()) + int(grid.column_exponents.min())
        high = int(grid.row_exponents.max()) + int(grid.column_exponents.max())
        if low < -MAX_EXPONENT or high > MAX_EXPONENT:
            raise UsageError(
                f"tensor {spec.name!r}: step exponents reach from {low} to {high} quarter octaves; "
                f"need -{MAX_EXPONENT} .. {MAX_EXPONENT}"
            )


def _check_steps(where: str, rows: Ints, columns: Ints) -> None:
    low, high = int(rows.min()) + int(columns.min()), int(rows.max()) + int(columns.max())
    if low < -MAX_EXPONENT or high > MAX_EXPONENT:
        raise CorruptError(
            f"{where}: step exponents {low} .. {high}; the format allows -{MAX_EXPONENT} .. {MAX_EXPONENT}"
        )


def _ints(array: npt.NDArray[Any]) -> Ints:
    return np.ascontiguousarray(array, np.int32)


def _crc(*parts: bytes | npt.NDArray[Any]) -> int:
    crc = 0
    for part in parts:
        data = np.frombuffer(part, np.uint8) if isinstance(part, bytes) else part.reshape(-1).view(np.uint8)
        crc = _core.crc32c(data, crc)
    return crc


def _check_crc(where: str, got: int, expected: int) -> None:
    if got != expected:
        raise CorruptError(
            f"{where}: CRC-32C is {got:#010x}, the index says {expected:#010x}; the file is damaged"
        )
