from __future__ import annotations

import numpy as np
import pytest

from tersor.layouts.grid import Grid
from tersor.planner.rate import RateMeter


def grid_of(codes: np.ndarray, row_class: int = 0) -> Grid:
    rows, columns = codes.shape
    zeros = np.zeros(columns, np.int16)
    return Grid(codes, np.zeros(rows, np.int16), zeros, np.full(rows, row_class, np.int16), zeros)


@pytest.mark.parametrize("rms", [0.3, 2.0, 200.0])
def test_bytes_are_near_the_entropy_of_gaussian_codes(rms: float) -> None:
    codes = np.rint(rms * np.random.RandomState(0).randn(400, 500)).astype(np.int32)
    _, counts = np.unique(codes, return_counts=True)
    entropy = -(counts * np.log2(counts / codes.size)).sum() / 8
    meter = RateMeter()
    meter.add(grid_of(codes), 1.0)
    assert meter.n_bytes() == pytest.approx(entropy, rel=0.03)


def test_zeros_cost_almost_nothing() -> None:
    meter = RateMeter()
    meter.add(grid_of(np.zeros((100, 100), np.int32)), 1.0)
    assert meter.n_bytes() < 10


def test_classes_separate_narrow_from_wide_codes() -> None:
    random = np.random.RandomState(0)
    narrow, wide = (np.rint(rms * random.randn(100, 100)).astype(np.int32) for rms in (0.4, 8.0))
    together, apart = RateMeter(), RateMeter()
    for codes, row_class in ((narrow, -5), (wide, 12)):
        together.add(grid_of(codes), 1.0)
        apart.add(grid_of(codes, row_class), 1.0)
    assert apart.n_bytes() < 0.95 * together.n_bytes()
