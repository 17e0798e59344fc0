"""The blocks of a sparse tensor and what is kept of each: the elements whose bits are not all zero."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from tersor.layouts.base import matrix_shape
from tersor.layouts.geometry import DENSE_BLOCK_ELEMENTS, Blocks, choose_blocks
from tersor.types import TensorSpec

SPARSE_LAYOUT = "sparse/1"

Mask = npt.NDArray[np.bool_]


@dataclass(frozen=True, slots=True)
class SparseBlock:
    """The rectangle of a tensor's matrix that begins at `row`, `column`. elements: a view of it, (rows, columns)."""

    row: int
    column: int
    elements: npt.NDArray[Any]


def sparse_blocks(spec: TensorSpec, array: npt.NDArray[Any]) -> tuple[Blocks, Iterator[SparseBlock]]:
    """Return the size of the blocks that a tensor is cut into, those of dense tensors, and the blocks in order."""
    rows, columns = matrix_shape(spec)
    blocks = choose_blocks(rows, columns, DENSE_BLOCK_ELEMENTS)
    matrix = array.reshape(rows, columns)
    places = (
        SparseBlock(row, column, matrix[row : row + blocks.rows, column : column + blocks.columns])
        for row in range(0, rows if columns else 0, blocks.rows or 1)
        for column in range(0, columns, blocks.columns or 1)
    )
    return blocks, places


def words_of(block: npt.NDArray[Any]) -> npt.NDArray[np.unsignedinteger[Any]]:
    """The elements of a C-contiguous array as unsigned integers of their size."""
    return block.view(f"u{block.dtype.itemsize}")


def mask_of(block: npt.NDArray[Any]) -> Mask:
    """True where an element of a C-contiguous block is kept."""
    return np.asarray(words_of(block) != 0)


def kept_shape(mask: Mask) -> tuple[int, int]:
    """Shape of the matrix that kept elements are coded as: rows as they are if all keep equally many, else one row."""
    per_row = np.count_nonzero(mask, axis=1)
    if len(per_row) and (per_row == per_row[0]).all():
        return len(per_row), int(per_row[0])
    return 1, int(per_row.sum())


def kept_values(block: npt.NDArray[Any], mask: Mask) -> npt.NDArray[Any]:
    """The kept elements of a C-contiguous block, of `kept_shape`."""
    return block[mask].reshape(kept_shape(mask))
