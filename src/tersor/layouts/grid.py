"""The grid in memory: integer codes and the steps that turn them into weights (docs/format.md 4.2)."""

from __future__ import annotations

from dataclasses import dataclass, fields
from typing import Any

import ml_dtypes
import numpy as np
import numpy.typing as npt

from tersor import _core
from tersor.errors import NonFiniteError, ShapeError, UsageError

Array = npt.NDArray[Any]

# 2**(n/4) rounded to float32. A step is ROOTS[e & 3] * 2**(e >> 2), exact for |e| <= MAX_EXPONENT.
ROOTS = np.array([1.0, 1.1892070770263672, 1.4142135381698608, 1.6817928552627563], np.float32)
MAX_EXPONENT = 480


@dataclass(frozen=True, slots=True, eq=False)
class Grid:
    """What every quantizer returns: a matrix (rows, columns) = (out, in) of integer codes, and its steps.

    codes: int32 (rows, columns).
    row_exponents (rows,), column_exponents (columns,): int16, quarter octaves; their sums lie in -480 .. 480.
    row_classes (rows,), column_classes (columns,): int16; row + column class of an element says how wide the
        distribution of its code is, in quarter octaves. Any values decode; good ones make the file small.
    trellis_rows: 0, or the codes are those of the 8-state trellis, restarted every so many rows.
    transposed: the matrix is the transpose of the tensor's last two dimensions (GPT-2's Conv1D).
    codebook: float32 (n,), then codes lie in 0 .. n-1; None: the level of a code is the code.
    group_size: columns that share a scale and a zero point, 0 for none; columns % group_size == 0.
    group_scales: float32, float16 or bfloat16 (rows, columns / group_size); zero_points: int32, the same shape.
    value = (level - zero_point) * scale * 2**((row_exponent + column_exponent) / 4) in float32.
    Raises: ShapeError if the shapes do not fit each other; NonFiniteError if a scale or a codebook entry is not
        finite; UsageError for a codebook beside trellis codes.
    """

    codes: Array
    row_exponents: Array
    column_exponents: Array
    row_classes: Array
    column_classes: Array
    trellis_rows: int = 0
    transposed: bool = False
    codebook: Array | None = None
    group_size: int = 0
    group_scales: Array | None = None
    zero_points: Array | None = None

    def __post_init__(self) -> None:
        rows, columns = self.codes.shape
        expected: dict[str, tuple[int, ...]] = {
            "row_exponents": (rows,),
            "column_exponents": (columns,),
            "row_classes": (rows,),
            "column_classes": (columns,),
        }
        if self.group_size:
            if columns % self.group_size:
                raise ShapeError(f"grid: columns={columns} is not a multiple of group_size={self.group_size}")
            expected["group_scales"] = expected["zero_points"] = (rows, columns // self.group_size)
        for name, shape in expected.items():
            array = getattr(self, name)
            if array is None or array.shape != shape:
                got = "nothing" if array is None else array.shape
                raise ShapeError(
                    f"grid: {name} has shape {got}, needs {shape} for codes of shape {(rows, columns)}"
                )
        if self.codebook is not None and self.trellis_rows:
            raise UsageError("grid: a codebook and trellis codes exclude each other")
        for name in ("codebook", "group_scales"):
            values = getattr(self, name)
            if values is not None and not np.isfinite(values.astype(np.float32)).all():
                raise NonFiniteError(f"grid: {name} holds NaN or infinity; only finite values can be stored")

    @property
    def shape(self) -> tuple[int, int]:
        return self.codes.shape[0], self.codes.shape[1]

    def rows(self, first: int, last: int) -> Grid:
        """The grid of rows first .. last-1; with trellis codes first is a multiple of trellis_rows."""
        changed = {}
        for item in fields(self):
            value = getattr(self, item.name)
            by_row = item.name in ("codes", "row_exponents", "row_classes", "group_scales", "zero_points")
            changed[item.name] = value[first:last] if by_row and value is not None else value
        return Grid(**changed)

    def to_dense(self) -> npt.NDArray[np.float32]:
        """Return the weights, float32 (rows, columns): the same bits on every machine."""
        out = np.empty(self.shape, np.float32)
        dequantize(self, out)
        return out


def dequantize(grid: Grid, out: Array) -> None:
    """Fill out, C-contiguous (rows, columns), with the weights of a grid.

    out: float32, or bfloat16, which takes the float32 values rounded to nearest even.
    Raises: ValueError for step exponents out of range and codes outside of the codebook.
    """
    arguments = (
        _contiguous(grid.codes, np.int32),
        _contiguous(grid.row_exponents, np.int32),
        _contiguous(grid.column_exponents, np.int32),
        grid.trellis_rows,
        None if grid.codebook is None else _contiguous(grid.codebook, np.float32),
        grid.group_size,
        _contiguous(grid.group_scales, np.float32) if grid.group_size else None,
        _contiguous(grid.zero_points, np.int32) if grid.group_size else None,
    )
    if out.dtype == ml_dtypes.bfloat16:
        _core.dequantize_bf16(*arguments, out.view(np.uint16))
    else:
        _core.dequantize(*arguments, out)


def _contiguous(array: Array | None, dtype: npt.DTypeLike) -> Array:
    return np.ascontiguousarray(array, dtype)
