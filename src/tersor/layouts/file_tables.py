"""The entropy tables of one archive file, whatever mixture of dense and grid tensors it holds."""

from __future__ import annotations

import numpy as np

from tersor.layouts.base import Alias, Dense
from tersor.layouts.code_tables import CodeTableCounts
from tersor.layouts.float_tables import FloatTableCounts
from tersor.layouts.grid import Grid
from tersor.layouts.grid_tables import GridCounts
from tersor.layouts.tables import SIDE_SYMBOLS, SIDE_TABLES, TableSet, make_side_tables
from tersor.types import TensorSpec


class FileCounts:
    """Collects the histograms of all tensors of a file, then makes its table sets."""

    def __init__(self) -> None:
        self._floats = FloatTableCounts()
        self._grids = GridCounts()
        self._codes = CodeTableCounts()

    def add(self, spec: TensorSpec, value: Dense | Grid | Alias) -> None:
        """Count one tensor; what needs no tables is ignored."""
        if isinstance(value, Grid):
            self._grids.add(value)
        elif isinstance(value, Dense):
            self._floats.add(spec, value.array)
            self._codes.add(spec, value.array)

    def make(self, level: str) -> list[TableSet]:
        """Return the table sets for a level ("fast" or "balanced"); none if nothing needs tables."""
        tables = self._grids.tables() + self._codes.tables() + self._floats.tables(level)
        if not tables:
            return []
        side = np.zeros((SIDE_TABLES, SIDE_SYMBOLS), np.uint64)
        side += self._grids.side_counts + self._codes.side_counts + self._floats.side_counts
        used = np.flatnonzero(side.any(axis=1))
        return [*tables, make_side_tables(side[: used[-1] + 1])]
