"""Entropy tables for dense floats: one look at (a sample of) all float tensors of a file before it is written."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable
from functools import partial

import numpy as np
import numpy.typing as npt

from tersor.layouts import float_max
from tersor.layouts.base import Context, matrix_shape
from tersor.layouts.code_tables import CodeTableCounts
from tersor.layouts.float_blocks import FloatBlocks
from tersor.layouts.float_models import FloatModels, Pause
from tersor.layouts.float_runs import coded_runs
from tersor.layouts.float_words import UNITS
from tersor.layouts.forms.narrow_rows import count_narrow_rows
from tersor.layouts.geometry import DENSE_BLOCK_ELEMENTS, choose_blocks
from tersor.layouts.sparse_values import kept_values, mask_of, sparse_blocks
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
RARE_BALANCED, RARE_FAST, NEVER = 16384, 1600, 1 << 48
# Level max: how often row classes are moved to where the tables of the round before make them cheapest. Once is worth
# .0001 of the ratio; moving the columns' classes too would be worth as much again, for twice the time.
REFINEMENTS = 1
# Blocks are looked at in samples: of the whole file about so many elements, of a block from least to most.
SAMPLE_ELEMENTS, LEAST_SAMPLE, MOST_SAMPLE = 1 << 19, 1 << 13, 1 << 16
PENDING_BYTES = 1 << 23  # of tensors that wait to be counted together


class FloatTableCounts:
    """Collects the histograms of float tensors, then makes the tables of the file.

    Holds on to the tensors that were added last, PENDING_BYTES of them. threads: blocks looked at at a time.
    """

    def __init__(self, level: str = "balanced", threads: int = 1) -> None:
        self._level = level
        self._threads = threads
        self._pending = FloatBlocks(level)
        self._n_blocks = 0
        self._balanced = np.zeros((16, 64), np.uint64)
        self._fast = np.zeros((16, 16), np.uint64)
        self._row_classes = np.zeros(SIDE_SYMBOLS, np.uint64)
        self._trailing_zeros = np.zeros(SIDE_SYMBOLS, np.uint64)
        self.models = FloatModels(threads)

    def add(self, spec: TensorSpec, array: npt.NDArray[np.generic], pause: Pause | None = None) -> None:
        """Count a tensor if it holds floats that float rows can code; others are ignored.

        pause: called whenever a few MB of it have been read.
        """
        if spec.dtype not in UNITS or array.size == 0:
            return
        if spec.dtype == "F32":
            self._trailing_zeros += count_narrow_rows(array.reshape(matrix_shape(spec)), pause)
        if self._level == "max" and self.models.suits(spec):
            self.models.fit(spec, array, pause)
            return
        if not self._pending.add(spec, array):
            self._add_tiles(spec, array.reshape(matrix_shape(spec)))
        if self._pending.n_bytes >= PENDING_BYTES:
            self._count_pending()

    def add_kept(self, spec: TensorSpec, array: npt.NDArray[np.generic]) -> None:
        """Count what is kept of a tensor that layout sparse/1 stores, block by block; no floats are ignored."""
        if spec.dtype not in UNITS:
            return
        for block in sparse_blocks(spec, array)[1]:
            elements = np.ascontiguousarray(block.elements)
            values = kept_values(elements, mask_of(elements))
            if values.size:
                self._pending.add_block(spec.dtype, values)
            if self._pending.n_bytes >= PENDING_BYTES:
                self._count_pending()

    def _add_tiles(self, spec: TensorSpec, matrix: npt.NDArray[np.generic]) -> None:
        """Add blocks that are no runs of the tensor's bytes one by one."""
        height, width = choose_blocks(*matrix.shape, DENSE_BLOCK_ELEMENTS)
        for row in range(0, len(matrix), height):
            for column in range(0, matrix.shape[1], width):
                tile = np.ascontiguousarray(matrix[row : row + height, column : column + width])
                self._pending.add_block(spec.dtype, tile)

    def _count_pending(self) -> None:
        self._n_blocks += self._pending.n_blocks
        n_sample = min(max(SAMPLE_ELEMENTS // max(self._n_blocks, 1), LEAST_SAMPLE), MOST_SAMPLE)
        self._pending.count(n_sample, self._balanced, self._fast, self._row_classes, self._threads)
        self._pending = FloatBlocks(self._level)

    @property
    def side_counts(self) -> Counts:
        """Histograms for the side tables (10, 64): those of floats."""
        self._count_pending()
        counts = np.zeros((SIDE_TABLES, SIDE_SYMBOLS), np.uint64)
        counts[FLOAT_ROW_CLASSES] = self._row_classes
        counts[TRAILING_ZEROS] = self._trailing_zeros
        self.models.finish()
        for model in self.models.models.values():
            float_max.count_side(model, counts)
        return counts

    def tables(self, level: str) -> list[TableSet]:
        """Return the table set for a level ("fast" or "balanced"), or nothing if no floats were counted."""
        self._count_pending()
        tables = []
        if self._row_classes.any() and level == "fast":
            tables.append(make_table_set("float8", _trained(self._fast), precision=8, rare=RARE_FAST))
        elif self._row_classes.any():
            tables.append(
                make_table_set("float12", _trained(self._balanced), precision=12, rare=RARE_BALANCED)
            )
        self.models.finish()
        if self.models.models:
            tables.append(
                make_table_set("float12max", coded_runs(self.models.counts), precision=12, rare=NEVER)
            )
        return tables


def _trained(counts: Counts) -> Counts:
    """The counts (16, symbols), where tables without any take those of their shape class, else of all.

    A sample of a block may fall into another shape class than the block; it should not escape everywhere.
    """
    by_shape = counts.reshape(4, 4, -1).sum(axis=1).repeat(4, axis=0)
    by_shape[~by_shape.any(axis=1)] = counts.sum(axis=0)
    return np.where(counts.any(axis=1, keepdims=True), counts, by_shape)


def float_context(
    tensors: Callable[[], Iterable[tuple[TensorSpec, npt.NDArray[np.generic]]]],
    level: str,
    codec: str,
    threads: int = 1,
    release: Callable[[str], None] | None = None,
    sparse: Collection[str] = (),
) -> Context:
    """Return what the blocks of a file of dense tensors share: its tables and, at level max, its models.

    tensors: called for each look at the data: one, and REFINEMENTS more at level max.
    threads: how many look at the data at a time; the result does not depend on it.
    release: called with a tensor's name now and then: what was read of it may leave memory; its array stays readable.
    sparse: names of the tensors that layout sparse/1 stores.
    """
    counts, codes = FloatTableCounts(level, threads), CodeTableCounts()
    with counts.models as models:
        for spec, array in tensors():
            if spec.name in sparse:
                counts.add_kept(spec, array)
                continue
            counts.add(spec, array, _pause(spec, release))
            if codec == "auto":
                codes.add(spec, array)
        models.finish()
        for _ in range(REFINEMENTS if models.models else 0):
            costs = models.begin_refinement()
            for spec, array in tensors():
                models.refine(spec, array, costs, _pause(spec, release))
        tables = codes.tables() + counts.tables(level)
    if tables:
        side = counts.side_counts + codes.side_counts
        used = np.flatnonzero(side.any(axis=1))
        tables.append(make_side_tables(side[: used[-1] + 1]))
    return Context(table_sets=tables, level=level, codec=codec, float_models=models.models)


def _pause(spec: TensorSpec, release: Callable[[str], None] | None) -> Pause | None:
    return None if release is None else partial(release, spec.name)
