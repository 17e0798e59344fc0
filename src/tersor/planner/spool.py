"""Grids on disk between quantization and coding: tables need all codes of a file before the first is written."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from tersor.layouts.grid import Grid

_VECTORS = ("row_exponents", "column_exponents", "row_classes", "column_classes")
_INT16 = np.iinfo(np.int16)


class GridSpool:
    """A folder of grids by number. Codes that fit into 16 bits take 16 bits.

    Memory: one grid at a time. Grids of the built-in quantizers only: no groups, codebooks or trellis.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        folder.mkdir(parents=True, exist_ok=True)

    def put(self, number: int, grid: Grid) -> None:
        """Store a grid under a number, replacing an earlier one."""
        codes = grid.codes
        if codes.size and codes.min() >= _INT16.min and codes.max() <= _INT16.max:
            codes = codes.astype(np.int16)
        np.save(self._folder / f"{number}.codes.npy", codes)
        vectors = {name: getattr(grid, name) for name in _VECTORS}
        np.savez(self._folder / f"{number}.vectors.npz", transposed=grid.transposed, **vectors)

    def get(self, number: int) -> Grid:
        """Return the grid stored under a number."""
        codes = np.load(self._folder / f"{number}.codes.npy").astype(np.int32, copy=False)
        with np.load(self._folder / f"{number}.vectors.npz") as vectors:
            return Grid(
                codes=codes,
                row_exponents=vectors["row_exponents"],
                column_exponents=vectors["column_exponents"],
                row_classes=vectors["row_classes"],
                column_classes=vectors["column_classes"],
                transposed=bool(vectors["transposed"]),
            )
