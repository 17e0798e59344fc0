"""A tensor of an archive in the form it is stored in: codes stay codes, factors stay factors."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from tersor.archive.file import GRID_LAYOUT, ArchiveFile
from tersor.archive.tensor import StoredTensor
from tersor.layouts.base import Alias, Dense
from tersor.layouts.grid import Grid
from tersor.layouts.low_rank import LowRank, Part
from tersor.layouts.sparse import Sparse
from tersor.types import TensorSpec

SPARSE_LAYOUT = "sparse/1"

Stored = Dense | Grid | Alias | Sparse | LowRank


def stored_value(file: ArchiveFile, number: int) -> Stored:
    """What a writer would be given for tensor `number`, so that it decodes to the same values.

    A delta is returned as the floats that it stands for. Raises: CorruptError, NewerFormatError, UsageError.
    """
    target = file.target(number)
    if target != number:
        return Alias(file.streams[target].name)
    if number in file.low_rank:
        return _low_rank(file, number)
    return _own_blocks(file, number)


def _low_rank(file: ArchiveFile, number: int) -> LowRank:
    meta = file.low_rank[number]
    parts: dict[str, Part] = {}
    for name, part in meta.parts().items():
        parts[name] = _own_blocks(file, part)
    pivot = file.is_pivot(number)
    pivots = None if pivot is None else np.flatnonzero(pivot)
    return LowRank(parts["left"], parts["right"], parts.get("residual"), meta.transposed, pivots)


def _own_blocks(file: ArchiveFile, number: int) -> Dense | Grid | Sparse:
    tensor = file.tensor(number)
    layout = file.layout_name(file.index.tensors[number])
    if layout == GRID_LAYOUT and len(tensor.table):
        return grid_of(tensor)
    array = whole_array(tensor)
    return Sparse(array) if layout == SPARSE_LAYOUT else Dense(array)


def whole_array(tensor: StoredTensor) -> np.ndarray:
    """All elements of a tensor, decoded."""
    spec: TensorSpec = tensor.spec
    data = b"".join(bytes(chunk) for chunk in tensor.chunks())
    return np.frombuffer(data, spec.numpy_dtype).reshape(spec.numpy_shape).copy()


def grid_of(tensor: StoredTensor) -> Grid:
    """The grid of a tensor of layout grid/1 with at least one element, its blocks put together."""
    table = tensor.table
    blocks = list(tensor.grids())
    first = blocks[0]
    codes = np.empty((table.rows, table.columns), np.int32)
    row_exponents = np.empty(table.rows, np.int16)
    row_classes = np.empty(table.rows, np.int16)
    column_exponents = np.empty(table.columns, np.int16)
    column_classes = np.empty(table.columns, np.int16)
    scales = zero_points = None
    if first.group_size:
        assert first.group_scales is not None
        shape = (table.rows, table.columns // first.group_size)
        scales, zero_points = np.empty(shape, first.group_scales.dtype), np.empty(shape, np.int32)
    for number, grid in enumerate(blocks):
        block = table.block(number)
        rows = slice(block.rows.start, block.rows.stop)
        columns = slice(block.columns.start, block.columns.stop)
        codes[rows, columns] = grid.codes
        row_exponents[rows], row_classes[rows] = grid.row_exponents, grid.row_classes
        column_exponents[columns], column_classes[columns] = grid.column_exponents, grid.column_classes
        if scales is not None and zero_points is not None:
            groups = slice(columns.start // first.group_size, columns.stop // first.group_size)
            assert grid.group_scales is not None and grid.zero_points is not None
            scales[rows, groups], zero_points[rows, groups] = grid.group_scales, grid.zero_points
    return replace(
        first,
        codes=codes,
        row_exponents=row_exponents,
        column_exponents=column_exponents,
        row_classes=row_classes,
        column_classes=column_classes,
        group_scales=scales,
        zero_points=zero_points,
    )
