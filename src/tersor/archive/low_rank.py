"""A tensor stored as the product of two others: read by multiplying the rows and columns that are asked for."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np
import numpy.typing as npt

from tersor.archive.blocks import BlockTable
from tersor.archive.ranges import Ranges
from tersor.archive.tensor import Problem, StoredTensor, as_bytes, new_array
from tersor.errors import CorruptError
from tersor.layouts.base import MAX_BLOCK_ELEMENTS, matrix_shape
from tersor.layouts.low_rank import LEFT, PIVOT_ROWS, RESIDUAL, RIGHT, Factors, product
from tersor.types import TensorSpec


class LowRankTensor(StoredTensor):
    """A tensor without blocks of its own.

    parts: left and right, maybe residual; their shapes have been checked. pivot: which rows are those of `right`.
    flip: see StoredTensor. A part of the tensor needs the rows of `left` and the columns of `right` that it lies in.
    """

    def __init__(
        self,
        ranges: Ranges,
        spec: TensorSpec,
        parts: Mapping[str, StoredTensor],
        pivot: npt.NDArray[np.bool_] | None,
        flip: tuple[int, int] | None,
    ) -> None:
        rows = parts[LEFT].spec.shape[0] if pivot is None else len(pivot)
        columns = parts[RIGHT].spec.shape[1]
        table = BlockTable(rows, columns, 0, 0, 0, 0, np.zeros(1, np.int64), np.zeros(0, np.uint32))
        super().__init__(ranges, spec, 0, table, _NoBlocks(), flip)
        self._parts = parts
        self._pivot = pivot

    def factors(self) -> Factors:
        """Return the parts, decoded."""
        found = {name: _decoded(part, range(part.spec.shape[0]), None) for name, part in self._parts.items()}
        pivots = None if self._pivot is None else np.flatnonzero(self._pivot)
        return Factors(found[LEFT], found[RIGHT], found.get(RESIDUAL), self._flip is not None, pivots)

    def read_into(self, out: np.ndarray, rows: range, columns: range, threads: int = 1) -> None:
        """Fill `out` (len(rows), len(columns)) with that rectangle of the tensor's matrix."""
        if not (rows and columns):
            return
        if self._flip is None:
            out[...] = _cast(self._product(rows, columns, threads), self.spec)
            return
        a, b = self._flip
        for slab in range(rows.start // a, (rows.stop - 1) // a + 1):
            wanted = range(max(rows.start, slab * a), min(rows.stop, (slab + 1) * a))
            stored_rows = range(slab * b + columns.start, slab * b + columns.stop)
            part = self._product(stored_rows, range(wanted.start - slab * a, wanted.stop - slab * a), threads)
            out[wanted.start - rows.start : wanted.stop - rows.start] = _cast(part.T, self.spec)

    def chunks(self, threads: int = 1, problem: Problem | None = None) -> Iterator[memoryview]:
        """Yield all bytes of the tensor, row-major, in pieces of some rows.

        problem: called with the message of a damaged part, after which nothing follows; None: it raises.
        A transposed tensor is held in memory as a whole.
        """
        rows, columns = matrix_shape(self.spec)
        n_rows = rows if self._flip is not None else max(MAX_BLOCK_ELEMENTS // max(columns, 1), 1)
        for first in range(0, rows if columns else 0, max(n_rows, 1)):
            band = range(first, min(first + n_rows, rows))
            out = new_array((len(band), columns), self.spec, self.where)
            try:
                self.read_into(out, band, range(columns), threads)
            except CorruptError as exc:
                if problem is None:
                    raise
                problem(str(exc))
                return
            yield as_bytes(out)

    def _product(self, rows: range, columns: range, threads: int) -> np.ndarray:
        """Return a rectangle of the stored matrix, float32."""
        left_rows, pivot = rows, None
        if self._pivot is not None:
            n_pivots = (int(self._pivot[: rows.start].sum()), int(self._pivot[: rows.stop].sum()))
            left_rows = range(rows.start - n_pivots[0], rows.stop - n_pivots[1])
            pivot = self._pivot[rows.start : rows.stop]
        wanted = {LEFT: (left_rows, None), RIGHT: (None, columns), RESIDUAL: (rows, columns)}
        found = {name: _decoded(part, *wanted[name], threads) for name, part in self._parts.items()}
        if pivot is not None:
            found[PIVOT_ROWS] = found[RIGHT][slice(*n_pivots)]
        return product(found, pivot)


class _NoBlocks:
    """The decoder of a tensor without blocks: never called, as its table is empty."""

    def decode(
        self, payload: memoryview, crc: int, first_row: int, first_column: int, out: np.ndarray
    ) -> None:
        raise CorruptError("a low-rank tensor has no blocks of its own")


def _decoded(part: StoredTensor, rows: range | None, columns: range | None, threads: int = 1) -> Any:
    """Return rows and columns of a part (None: all), float32."""
    n_rows, n_columns = part.spec.shape
    rows, columns = (
        range(n_rows) if rows is None else rows,
        range(n_columns) if columns is None else columns,
    )
    out = new_array((len(rows), len(columns)), part.spec, part.where)
    part.read_into(out, rows, columns, threads)
    return out.astype(np.float32, copy=False)


def _cast(matrix: np.ndarray, spec: TensorSpec) -> np.ndarray:
    with np.errstate(over="ignore"):  # float16 overflows to infinity, as the format says
        return matrix.astype(spec.numpy_dtype, copy=False)
