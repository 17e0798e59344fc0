"""Stored forms on disk between making and coding: tables need all codes of a file before the first is written."""

from __future__ import annotations

from dataclasses import fields
from pathlib import Path
from typing import Any

import ml_dtypes
import numpy as np

from tersor.layouts.base import Dense
from tersor.layouts.grid import Grid
from tersor.layouts.low_rank import LowRank
from tersor.layouts.sparse import Sparse
from tersor.npy import read_npy, read_npz

Spooled = Grid | Dense | Sparse | LowRank

_INT16 = np.iinfo(np.int16)
_PLAIN_FIELDS = ("trellis_rows", "transposed", "group_size")
_PARTS = ("left", "right", "residual")


class ValueSpool:
    """A folder of stored forms by number. Codes that fit into 16 bits take 16 bits. Memory: one of them at a time."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        folder.mkdir(parents=True, exist_ok=True)

    def put(self, number: int, value: Spooled) -> None:
        """Store a form under a number, replacing an earlier one."""
        for path in self._folder.glob(f"{number}.*"):
            path.unlink()
        self._put(str(number), value)

    def get(self, number: int) -> Spooled:
        """Return what is stored under a number."""
        return self._get(str(number))

    def _put(self, name: str, value: Spooled) -> None:
        if isinstance(value, LowRank):
            plain = {
                item.name: getattr(value, item.name) for item in fields(LowRank) if item.name not in _PARTS
            }
            np.savez(
                self._folder / f"{name}.low_rank.npz", **{k: v for k, v in plain.items() if v is not None}
            )
            for part, stored in value.parts().items():
                self._put(f"{name}.{part}", stored)
        elif isinstance(value, Grid):
            self._put_grid(name, value)
        else:
            kind = "sparse" if isinstance(value, Sparse) else "dense"
            np.save(self._folder / f"{name}.{kind}.npy", _as_words(value.array))
            (self._folder / f"{name}.dtype").write_text(value.array.dtype.name)

    def _get(self, name: str) -> Spooled:
        if (path := self._folder / f"{name}.low_rank.npz").exists():
            plain: dict[str, Any] = {key: v if v.ndim else v.item() for key, v in read_npz(path).items()}
            parts: dict[str, Any] = {part: self._get(f"{name}.{part}") for part in self._parts_of(name)}
            return LowRank(**parts, **plain)
        for kind, form in (("sparse", Sparse), ("dense", Dense)):
            if (path := self._folder / f"{name}.{kind}.npy").exists():
                dtype = np.dtype((self._folder / f"{name}.dtype").read_text())
                return form(read_npy(path).view(dtype))
        return self._get_grid(name)

    def _parts_of(self, name: str) -> list[str]:
        return [part for part in _PARTS if any(self._folder.glob(f"{name}.{part}.*"))]

    def _put_grid(self, name: str, grid: Grid) -> None:
        codes = grid.codes
        if codes.size and codes.min() >= _INT16.min and codes.max() <= _INT16.max:
            codes = codes.astype(np.int16)
        np.save(self._folder / f"{name}.codes.npy", codes)
        parts = {item.name: getattr(grid, item.name) for item in fields(Grid) if item.name != "codes"}
        if grid.group_scales is not None and grid.group_scales.dtype == ml_dtypes.bfloat16:
            parts["group_scales"] = grid.group_scales.view(np.uint16)  # .npz files know no bfloat16
        np.savez(self._folder / f"{name}.parts.npz", **{k: v for k, v in parts.items() if v is not None})

    def _get_grid(self, name: str) -> Grid:
        codes = read_npy(self._folder / f"{name}.codes.npy").astype(np.int32, copy=False)
        parts: dict[str, Any] = dict(read_npz(self._folder / f"{name}.parts.npz"))
        for field in _PLAIN_FIELDS:
            parts[field] = parts[field].item()
        scales = parts.get("group_scales")
        if scales is not None and scales.dtype == np.uint16:
            parts["group_scales"] = scales.view(ml_dtypes.bfloat16)
        return Grid(codes=codes, **parts)


def _as_words(array: np.ndarray) -> np.ndarray:
    """An array of a type that .npy files know: unsigned words where it is ml_dtypes' own."""
    known = array.dtype.kind in "biufc"
    return array if known else array.view(f"u{array.dtype.itemsize}")
