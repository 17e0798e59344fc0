from __future__ import annotations

import numpy as np
import pytest

from tersor.layouts.grid import Grid
from tersor.planner.rate import RateMeter
from tersor.quant.code_lengths import FIRST_CLASS


def grid_of(codes: np.ndarray, row_class: int = 0, trellis_rows: int = 0) -> Grid:
    rows, columns = codes.shape
    zeros = np.zeros(columns, np.int16)
    classes = np.full(rows, row_class, np.int16)
    return Grid(codes, np.zeros(rows, np.int16), zeros, classes, zeros, trellis_rows)


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


def test_trellis_codes_are_told_apart_by_half() -> None:
    codes = np.zeros((64, 200), np.int32)
    codes[1::2] = 1  # 0 stays in an even state, 1 moves to state 2, where 0 leads to 1 and 1 to 3
    plain, trellis = RateMeter(), RateMeter()
    plain.add(grid_of(codes), 1.0)
    trellis.add(grid_of(codes, trellis_rows=64), 1.0)
    assert set(plain.counts) == {1}
    assert set(trellis.counts) == {2}
    assert all(half.any() for half in trellis.counts[2])
    assert trellis.counts[2].sum() == plain.counts[1].sum() == codes.size


def test_far_codes_cost_their_magnitude_in_bits() -> None:
    codes = np.random.RandomState(0).randint(-(2**15), 2**15, (100, 100)).astype(np.int32)
    meter = RateMeter()
    meter.add(grid_of(codes, 40), 1.0)
    assert meter.n_bytes() * 8 / codes.size == pytest.approx(16, abs=0.3)


def test_code_lengths_are_those_of_the_codes_counted() -> None:
    codes = np.rint(2 * np.random.RandomState(0).randn(500, 500)).astype(np.int32)
    meter = RateMeter()
    assert meter.code_lengths() is None
    meter.add(grid_of(codes), 1.0)
    lengths = meter.code_lengths()
    assert lengths is not None
    assert lengths.halves == 1
    for magnitude in range(5):
        share = np.mean(np.abs(codes) == magnitude) / (2 if magnitude else 1)
        assert lengths.bits[0, -FIRST_CLASS, magnitude] == pytest.approx(-np.log2(share), abs=0.01)


def test_trellis_codes_have_the_say_in_code_lengths() -> None:
    meter = RateMeter()
    meter.add(grid_of(np.zeros((32, 32), np.int32)), 1.0)
    meter.add(grid_of(np.zeros((32, 32), np.int32), trellis_rows=32), 1.0)
    lengths = meter.code_lengths()
    assert lengths is not None
    assert lengths.halves == 2
