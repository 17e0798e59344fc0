from __future__ import annotations

from dataclasses import fields
from pathlib import Path

import ml_dtypes
import numpy as np
import pytest

from tersor.layouts.grid import Grid
from tersor.planner.spool import ValueSpool


def grid_of(codes: np.ndarray, **parts: object) -> Grid:
    rows, columns = codes.shape
    vectors = [np.arange(n, dtype=np.int16) for n in (rows, columns, rows, columns)]
    return Grid(codes.astype(np.int32), *vectors, **parts)  # type: ignore[arg-type]


CODES = np.random.RandomState(0).randint(0, 4, (6, 8))
GROUPS = {"group_size": 4, "zero_points": np.ones((6, 2), np.int32)}


@pytest.mark.parametrize(
    "grid",
    [
        grid_of(CODES),
        grid_of(CODES * 100_000),
        grid_of(CODES, trellis_rows=16, transposed=True),
        grid_of(CODES, codebook=np.array([-1.0, 0.0, 0.5, 2.0], np.float32)),
        grid_of(CODES, group_scales=np.full((6, 2), 0.5, np.float16), **GROUPS),
        grid_of(CODES, group_scales=np.full((6, 2), 0.5, ml_dtypes.bfloat16), **GROUPS),
    ],
    ids=["plain", "large", "trellis", "codebook", "groups", "bfloat16"],
)
def test_a_grid_comes_back_as_it_was(grid: Grid, tmp_path: Path) -> None:
    spool = ValueSpool(tmp_path / "spool")
    spool.put(3, grid_of(np.zeros((1, 1))))
    spool.put(3, grid)
    found = spool.get(3)
    for item in fields(Grid):
        expected, got = getattr(grid, item.name), getattr(found, item.name)
        assert type(got) is type(expected)
        if isinstance(expected, np.ndarray):
            assert got.dtype == expected.dtype
            assert np.array_equal(got, expected)
        else:
            assert got == expected
