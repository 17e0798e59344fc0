"""Entropy tables for dense blocks of small integers: the histogram of their codes by class, as for grids."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from tersor import _core
from tersor.layouts.base import matrix_shape
from tersor.layouts.forms.codes import choose_unit, classes_of, codes_of
from tersor.layouts.grid_tables import FIRST_CLASS, N_CLASSES, RANGE, make_class_tables
from tersor.layouts.tables import (
    COLUMN_CLASSES,
    ROW_CLASSES,
    SIDE_SYMBOLS,
    SIDE_TABLES,
    TableSet,
    count_integers,
)
from tersor.types import TensorSpec

SYMBOLS = 128  # an 8-bit code then keeps at most one raw bit
CHUNK_BYTES = 1 << 19  # of a tensor counted at a time: codes are int32


class CodeTableCounts:
    """Collects the codes of all tensors of a file that form 5 suits. Memory: 8 MB once there is such a tensor."""

    def __init__(self) -> None:
        self._counts = np.zeros((0, N_CLASSES, 2 * RANGE + 1), np.uint64)
        self._outside = np.zeros((1, N_CLASSES), np.uint64)
        self.side_counts = np.zeros((SIDE_TABLES, SIDE_SYMBOLS), np.uint64)

    def add(self, spec: TensorSpec, array: npt.NDArray[Any]) -> None:
        """Count a tensor if its rows are better coded as codes than as bytes; others are ignored."""
        if array.dtype.itemsize != 1 or array.size == 0:
            return
        matrix = array.reshape(matrix_shape(spec))
        unit = choose_unit(spec.dtype, matrix)
        if unit is None:
            return
        if not len(self._counts):
            self._counts = np.zeros((1, N_CLASSES, 2 * RANGE + 1), np.uint64)
        step = max(CHUNK_BYTES // matrix.shape[1], 1)
        for row in range(0, len(matrix), step):
            self._count(np.ascontiguousarray(matrix[row : row + step]).view(np.uint8), unit)

    def _count(self, rows: npt.NDArray[np.uint8], unit: int) -> None:
        codes = codes_of(rows, unit)
        row_class, column_class = classes_of(codes, unit)
        _core.count_codes(codes, row_class, column_class, 0, FIRST_CLASS, self._counts, self._outside)
        self.side_counts[ROW_CLASSES] += count_integers([row_class])
        self.side_counts[COLUMN_CLASSES] += count_integers([column_class])

    def tables(self) -> list[TableSet]:
        """Return the table set of kind "codes", or nothing if no codes were counted."""
        return [make_class_tables("codes", self._counts, self._outside, SYMBOLS)] if len(self._counts) else []
