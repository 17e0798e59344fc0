"""Entropy tables for dense floats: one look at (a sample of) all float tensors of a file before it is written."""

from __future__ import annotations

from collections.abc import Callable, Iterable

import numpy as np
import numpy.typing as npt

from tersor import _core
from tersor.layouts import float_max
from tersor.layouts.base import Context, matrix_shape
from tersor.layouts.code_tables import CodeTableCounts
from tersor.layouts.float_words import UNITS, WORD_FORMAT, float_words, row_length_of
from tersor.layouts.forms.narrow_rows import count_narrow_rows
from tersor.layouts.geometry import DENSE_BLOCK_ELEMENTS, choose_blocks
from tersor.layouts.tables import (
    FLOAT_ROW_CLASSES,
    SIDE_SYMBOLS,
    SIDE_TABLES,
    TRAILING_ZEROS,
    Counts,
    TableSet,
    make_side_tables,
    make_table_set,
)
from tersor.types import TensorSpec

# Symbols rarer than this become escapes, see tables.make_table_set; 12-bit tables can afford rarer ones.
RARE_BALANCED, RARE_FAST, RARE_MAX = 16384, 1600, 65536
# Level max: how often row classes are moved to where the tables of the round before make them cheapest, and how far.
REFINEMENTS, REFINE_REACH = 1, 2
REFINE_ROWS = 1024  # that a column is judged on
SAMPLE_ELEMENTS = 1 << 16  # of a block; row classes are counted in full
MAX_SAMPLE_ELEMENTS = 1 << 22  # of a tensor at level max
MIN_MAX_COLUMNS = 8  # shorter rows, of convolutions, are not worth a class each


class FloatTableCounts:
    """Collects the histograms of float tensors, then makes the tables of the file."""

    def __init__(self, level: str = "balanced") -> None:
        self._level = level
        self._balanced = np.zeros((16, 64), np.uint64)
        self._fast = np.zeros((16, 16), np.uint64)
        self._row_classes = np.zeros(SIDE_SYMBOLS, np.uint64)
        self._trailing_zeros = np.zeros(SIDE_SYMBOLS, np.uint64)
        self._max = np.zeros((float_max.N_TABLES, float_max.SYMBOLS), np.uint64)
        self.models: dict[str, _core.FloatModel] = {}

    def add(self, spec: TensorSpec, array: npt.NDArray[np.generic]) -> None:
        """Count a tensor if it holds floats that float rows can code; others are ignored."""
        if spec.dtype not in UNITS or spec.n_elements == 0:
            return
        rows, columns = matrix_shape(spec)
        matrix = array.reshape(rows, columns)
        if spec.dtype == "F32":
            self._trailing_zeros += count_narrow_rows(matrix)
        if self._level == "max" and rows > 1 and columns >= MIN_MAX_COLUMNS and spec.name not in self.models:
            words = float_max.word_matrix(spec.dtype, matrix)
            unit = WORD_FORMAT[UNITS[spec.dtype]]
            self.models[spec.name] = model = _core.fit_float_model(words, unit)
            self._count_max(words, unit, model)
            return
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
        """Histograms for the side tables (10, 64): those of floats."""
        counts = np.zeros((SIDE_TABLES, SIDE_SYMBOLS), np.uint64)
        counts[FLOAT_ROW_CLASSES] = self._row_classes
        counts[TRAILING_ZEROS] = self._trailing_zeros
        for model in self.models.values():
            float_max.count_side(model, counts)
        return counts

    def refine(
        self, spec: TensorSpec, array: npt.NDArray[np.generic], costs: npt.NDArray[np.float32]
    ) -> None:
        """Move the row classes of a tensor with a model to where they cost least, and count it afresh."""
        model = self.models.get(spec.name)
        if model is None:
            return
        words = float_max.word_matrix(spec.dtype, array.reshape(matrix_shape(spec)))
        unit = WORD_FORMAT[UNITS[spec.dtype]]
        _core.refine_columns(words, unit, costs, max(len(words) // REFINE_ROWS, 1), model)
        _core.refine_row_classes(words, unit, costs, REFINE_REACH, model)
        self._count_max(words, unit, model)

    def _count_max(self, words: npt.NDArray[np.uint16], unit: int, model: _core.FloatModel) -> None:
        _core.count_float_max(words, unit, model, max(words.size // MAX_SAMPLE_ELEMENTS, 1), self._max)

    def begin_refinement(self) -> npt.NDArray[np.float32]:
        """Return the costs of the symbols counted so far, and start counting anew."""
        costs = float_max.costs_of(self._max)
        self._max = np.zeros_like(self._max)
        return costs

    def tables(self, level: str) -> list[TableSet]:
        """Return the table set for a level ("fast" or "balanced"), or nothing if no floats were counted."""
        tables = []
        if self._row_classes.any() and level == "fast":
            tables.append(make_table_set("float8", _trained(self._fast), precision=8, rare=RARE_FAST))
        elif self._row_classes.any():
            tables.append(
                make_table_set("float12", _trained(self._balanced), precision=12, rare=RARE_BALANCED)
            )
        if self.models:
            tables.append(make_table_set("float12max", self._max, precision=12, rare=RARE_MAX))
        return tables


def _trained(counts: Counts) -> Counts:
    """The counts (16, symbols), where tables without any take those of their shape class, else of all.

    A sample of a block may fall into another shape class than the block; it should not escape everywhere.
    """
    by_shape = counts.reshape(4, 4, -1).sum(axis=1).repeat(4, axis=0)
    by_shape[~by_shape.any(axis=1)] = counts.sum(axis=0)
    return np.where(counts.any(axis=1, keepdims=True), counts, by_shape)


def float_context(
    tensors: Callable[[], Iterable[tuple[TensorSpec, npt.NDArray[np.generic]]]], level: str, codec: str
) -> Context:
    """Return what the blocks of a file of dense tensors share: its tables and, at level max, its models.

    tensors: called for each look at the data: one, and REFINEMENTS more at level max.
    """
    counts, codes = FloatTableCounts(level), CodeTableCounts()
    for spec, array in tensors():
        counts.add(spec, array)
        if codec == "auto":
            codes.add(spec, array)
    for _ in range(REFINEMENTS if counts.models else 0):
        costs = counts.begin_refinement()
        for spec, array in tensors():
            counts.refine(spec, array, costs)
    tables = codes.tables() + counts.tables(level)
    if tables:
        side = counts.side_counts + codes.side_counts
        used = np.flatnonzero(side.any(axis=1))
        tables.append(make_side_tables(side[: used[-1] + 1]))
    return Context(table_sets=tables, level=level, codec=codec, float_models=counts.models)
