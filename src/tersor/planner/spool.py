"""Grids on disk between quantization and coding: tables need all codes of a file before the first is written."""

from __future__ import annotations

from dataclasses import fields
from pathlib import Path
from typing import Any

import ml_dtypes
import numpy as np

from tersor.layouts.grid import Grid

_INT16 = np.iinfo(np.int16)
_PLAIN_FIELDS = ("trellis_rows", "transposed", "group_size")


class GridSpool:
    """A folder of grids by number. Codes that fit into 16 bits take 16 bits. Memory: one grid at a time."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        folder.mkdir(parents=True, exist_ok=True)

    def put(self, number: int, grid: Grid) -> None:
        """Store a grid under a number, replacing an earlier one."""
        codes = grid.codes
        if codes.size and codes.min() >= _INT16.min and codes.max() <= _INT16.max:
            codes = codes.astype(np.int16)
        np.save(self._folder / f"{number}.codes.npy", codes)
        parts = {item.name: getattr(grid, item.name) for item in fields(Grid) if item.name != "codes"}
        if grid.group_scales is not None and grid.group_scales.dtype == ml_dtypes.bfloat16:
            parts["group_scales"] = grid.group_scales.view(np.uint16)  # .npz files know no bfloat16
        np.savez(self._folder / f"{number}.parts.npz", **{k: v for k, v in parts.items() if v is not None})

    def get(self, number: int) -> Grid:
        """Return the grid stored under a number."""
        codes = np.load(self._folder / f"{number}.codes.npy").astype(np.int32, copy=False)
        with np.load(self._folder / f"{number}.parts.npz") as stored:
            parts: dict[str, Any] = {name: stored[name] for name in stored.files}
        for name in _PLAIN_FIELDS:
            parts[name] = parts[name].item()
        scales = parts.get("group_scales")
        if scales is not None and scales.dtype == np.uint16:
            parts["group_scales"] = scales.view(ml_dtypes.bfloat16)
        return Grid(codes=codes, **parts)
