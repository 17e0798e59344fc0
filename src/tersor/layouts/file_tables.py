"""The entropy tables of one archive file, whatever mixture of dense and grid tensors it holds."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

import numpy as np

from tersor.layouts.base import Alias, Dense, Sparse
from tersor.layouts.code_tables import CodeTableCounts
from tersor.layouts.float_tables import FloatTableCounts
from tersor.layouts.grid import Grid
from tersor.layouts.grid_tables import GridCounts
from tersor.layouts.low_rank import LowRank
from tersor.layouts.tables import SIDE_SYMBOLS, SIDE_TABLES, TableSet, make_side_tables
from tersor.types import TensorSpec

if TYPE_CHECKING:
    from tersor._core import FloatModel


class FileCounts:
    """Collects the histograms of all tensors of a file, then makes its table sets.

    level: that the file is written with; "max": float tensors get models (`float_models`), which are not refined.
    """

    def __init__(self, level: str = "balanced") -> None:
        self._floats = FloatTableCounts(level)
        self._grids = GridCounts()
        self._codes = CodeTableCounts()

    def add(self, spec: TensorSpec, value: Dense | Grid | Alias | LowRank | Sparse) -> None:
        """Count one tensor; what needs no tables is ignored."""
        if isinstance(value, Grid):
            self._grids.add(value)
        elif isinstance(value, Dense):
            self._floats.add(spec, value.array)
            self._codes.add(spec, value.array)
        elif isinstance(value, Sparse):
            self._floats.add_kept(spec, value.array)
        elif isinstance(value, LowRank):
            specs = value.part_specs(spec.name)
            for name, part in value.parts().items():
                self.add(specs[name], part)

    @property
    def float_models(self) -> Mapping[str, FloatModel]:
        """For the context of the writer. Complete after `make`."""
        return self._floats.models.models

    def make(self, level: str) -> list[TableSet]:
        """Return the table sets for a level ("fast", "balanced", "max"); none if nothing needs tables."""
        tables = self._grids.tables() + self._codes.tables() + self._floats.tables(level)
        if not tables:
            return []
        side = np.zeros((SIDE_TABLES, SIDE_SYMBOLS), np.uint64)
        side += self._grids.side_counts + self._codes.side_counts + self._floats.side_counts
        used = np.flatnonzero(side.any(axis=1))
        return [*tables, make_side_tables(side[: used[-1] + 1])]
