"""Entropy tables for dense floats: one look at (a sample of) all float tensors of a file before it is written."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np
import numpy.typing as npt

from tersor import _core
from tersor.layouts.base import matrix_shape
from tersor.layouts.float_words import UNITS, WORD_FORMAT, float_words, row_length_of
from tersor.layouts.geometry import DENSE_BLOCK_ELEMENTS, choose_blocks
from tersor.layouts.tables import (
    FLOAT_ROW_CLASSES,
    SIDE_SYMBOLS,
    SIDE_TABLES,
    Counts,
    TableSet,
    make_side_tables,
    make_table_set,
)
from tersor.types import TensorSpec

# Symbols rarer than this become escapes, see tables.make_table_set; 12-bit tables can afford rarer ones.
RARE_BALANCED, RARE_FAST = 16384, 1600
SAMPLE_ELEMENTS = 1 << 16  # of a block; row classes are counted in full


class FloatTableCounts:
    """Collects the histograms of float tensors, then makes the tables of the file."""

    def __init__(self) -> None:
        self._balanced = np.zeros((16, 64), np.uint64)
        self._fast = np.zeros((16, 16), np.uint64)
        self._row_classes = np.zeros(SIDE_SYMBOLS, np.uint64)

    def add(self, spec: TensorSpec, array: npt.NDArray[np.generic]) -> None:
        """Count a tensor if it holds floats that float rows can code; others are ignored."""
        if spec.dtype not in UNITS or spec.n_elements == 0:
            return
        rows, columns = matrix_shape(spec)
        matrix = array.reshape(rows, columns)
        blocks = choose_blocks(rows, columns, DENSE_BLOCK_ELEMENTS)
        for row in range(0, rows, blocks.rows):
            for column in range(0, columns, blocks.columns):
                block = matrix[row : row + blocks.rows, column : column + blocks.columns]
                self.add_words(float_words(spec.dtype, block), UNITS[spec.dtype], row_length_of(*block.shape))

    def add_words(self, words: npt.NDArray[np.uint16], unit: int, row_length: int) -> None:
        """Count one block of 16-bit words. unit: of UNITS; for F32 the words are the upper halves."""
        stride = max(words.size // SAMPLE_ELEMENTS, 1)
        _core.count_float_rows(
            words, WORD_FORMAT[unit], row_length, stride, self._balanced, self._fast, self._row_classes
        )

    @property
    def side_counts(self) -> Counts:
        """Histograms for the side tables (6, 64), only that of row classes in use."""
        counts = np.zeros((SIDE_TABLES, SIDE_SYMBOLS), np.uint64)
        counts[FLOAT_ROW_CLASSES] = self._row_classes
        return counts

    def tables(self, level: str) -> list[TableSet]:
        """Return the table set for a level ("fast" or "balanced"), or nothing if no floats were counted."""
        if not self._row_classes.any():
            return []
        if level == "fast":
            return [make_table_set("float8", _trained(self._fast), precision=8, rare=RARE_FAST)]
        return [make_table_set("float12", _trained(self._balanced), precision=12, rare=RARE_BALANCED)]


def _trained(counts: Counts) -> Counts:
    """The counts (16, symbols), where tables without any take those of their shape class, else of all.

    A sample of a block may fall into another shape class than the block; it should not escape everywhere.
    """
    by_shape = counts.reshape(4, 4, -1).sum(axis=1).repeat(4, axis=0)
    by_shape[~by_shape.any(axis=1)] = counts.sum(axis=0)
    return np.where(counts.any(axis=1, keepdims=True), counts, by_shape)


def fit_float_tables(
    tensors: Iterable[tuple[TensorSpec, npt.NDArray[np.generic]]], level: str
) -> list[TableSet]:
    """Return the table sets (floats and side) for float tensors at a level; none if there are no floats."""
    counts = FloatTableCounts()
    for spec, array in tensors:
        counts.add(spec, array)
    tables = counts.tables(level)
    return [*tables, make_side_tables(counts.side_counts[: FLOAT_ROW_CLASSES + 1])] if tables else []
