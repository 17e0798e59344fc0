"""Weights of grids: the compiled loop gives the bits of the definition in docs/format.md 4.2, here in numpy."""

from __future__ import annotations

from typing import Any

import ml_dtypes
import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tersor.layouts.grid import MAX_EXPONENT, ROOTS, Grid, dequantize

NEXT = ((0, 2), (5, 7), (1, 3), (6, 4), (2, 0), (4, 6), (3, 1), (7, 5))


def defined_levels(grid: Grid) -> npt.NDArray[np.float32]:
    if grid.codebook is not None:
        return np.asarray(grid.codebook[grid.codes], np.float32)
    levels = grid.codes.astype(np.int64)
    if grid.trellis_rows:
        for column in range(levels.shape[1]):
            state = 0
            for row, code in enumerate(grid.codes[:, column].tolist()):
                state = 0 if row % grid.trellis_rows == 0 else state
                levels[row, column] = 2 * code - (state & 1) * ((code > 0) - (code < 0))
                state = NEXT[state][code & 1]
    return levels.astype(np.float32)


def defined_values(grid: Grid) -> npt.NDArray[np.float32]:
    exponents = np.add.outer(grid.row_exponents.astype(int), grid.column_exponents.astype(int))
    steps = np.ldexp(ROOTS[exponents & 3], exponents >> 2).astype(np.float32)
    values = defined_levels(grid)
    with np.errstate(over="ignore", under="ignore"):
        if grid.group_size:
            assert grid.zero_points is not None
            assert grid.group_scales is not None
            values = values - np.repeat(grid.zero_points.astype(np.float32), grid.group_size, axis=1)
            values = values * np.repeat(grid.group_scales.astype(np.float32), grid.group_size, axis=1)
        return values * steps


def random_grid(
    seed: int, rows: int, columns: int, reach: int, spread: int, middle: int, **others: Any
) -> Grid:
    """Codes of up to `reach`; row and column exponents that lie `spread` around `middle` and its opposite."""
    rng = np.random.default_rng(seed)
    most = min(spread, MAX_EXPONENT // 2)
    vectors = [rng.integers(-most, most + 1, n) for n in (rows, columns)]
    return Grid(
        rng.integers(-reach, reach + 1, (rows, columns)).astype(np.int32),
        (vectors[0] + middle).astype(np.int16),
        (vectors[1] - middle).astype(np.int16),
        np.zeros(rows, np.int16),
        np.zeros(columns, np.int16),
        **others,
    )


def assert_as_defined(grid: Grid) -> None:
    expected = defined_values(grid)
    assert grid.to_dense().tobytes() == expected.tobytes()
    rounded = np.empty(grid.shape, ml_dtypes.bfloat16)
    dequantize(grid, rounded)
    with np.errstate(over="ignore"):
        assert rounded.tobytes() == expected.astype(ml_dtypes.bfloat16).tobytes()


sizes = {
    "seed": st.integers(0, 2**31),
    "rows": st.integers(1, 40),
    "columns": st.integers(1, 70),
    "reach": st.sampled_from([1, 9, 3000, 2**29, 2**31 - 1]),
    "spread": st.integers(0, 240),
    "middle": st.sampled_from([0, 1, -7, 479, 32000, -32000]),
}


@settings(max_examples=100, deadline=None)
@given(**sizes, trellis_rows=st.sampled_from([0, 1, 3, 16, 64]))
def test_plain_and_trellis_values_are_as_defined(trellis_rows: int, **size: int) -> None:
    assert_as_defined(random_grid(**size, trellis_rows=trellis_rows))


@settings(max_examples=50, deadline=None)
@given(**sizes, group_size=st.sampled_from([1, 5, 32]), scale=st.sampled_from([1e-30, 0.01, 3.0, 1e30]))
def test_values_of_groups_are_as_defined(
    columns: int, group_size: int, scale: float, seed: int, **size: int
) -> None:
    rng = np.random.default_rng(seed)
    groups = (size["rows"], -(-columns // group_size))
    assert_as_defined(
        random_grid(
            seed,
            columns=groups[1] * group_size,
            **size,
            group_size=group_size,
            group_scales=(rng.standard_normal(groups) * scale).astype(np.float32),
            zero_points=rng.integers(-(2**31), 2**31, groups).astype(np.int32) >> int(rng.integers(32)),
        )
    )


@settings(max_examples=30, deadline=None)
@given(**sizes, n=st.integers(1, 300))
def test_values_of_a_codebook_are_as_defined(n: int, **size: int) -> None:
    rng = np.random.default_rng(n)
    grid = random_grid(**size)
    codes = rng.integers(0, n, grid.shape).astype(np.int32)
    codebook = (rng.standard_normal(n) * 2.0 ** rng.integers(-100, 100)).astype(np.float32)
    assert_as_defined(
        Grid(
            codes,
            grid.row_exponents,
            grid.column_exponents,
            grid.row_classes,
            grid.column_classes,
            codebook=codebook,
        )
    )


def test_every_step_is_as_defined() -> None:
    exponents = np.arange(-MAX_EXPONENT, MAX_EXPONENT + 1)
    for middle in (-480, -3, 0, 2, 480, 20000):
        rows = np.array([middle], np.int16)
        columns = (exponents - middle).astype(np.int16)
        codes = np.full((1, len(columns)), 3, np.int32)
        assert_as_defined(Grid(codes, rows, columns, np.zeros(1, np.int16), np.zeros(len(columns), np.int16)))


def test_bfloat16_rounds_to_even_and_overflows_to_infinity() -> None:
    codes = np.array([[257, 259, -257, 0, 2**31 - 1]], np.int32)
    one = np.zeros(1, np.int16)
    scales = np.array([[1, 1, 1, 1, 3e38]], np.float32)
    grid = Grid(
        codes,
        one,
        np.zeros(5, np.int16),
        one,
        np.zeros(5, np.int16),
        0,
        False,
        None,
        1,
        scales,
        np.zeros((1, 5), np.int32),
    )
    rounded = np.empty((1, 5), ml_dtypes.bfloat16)
    dequantize(grid, rounded)
    assert rounded.astype(np.float32).tolist() == [[256, 260, -256, 0, np.inf]]


@pytest.mark.parametrize("shape", [(0, 3), (3, 0)])
def test_grids_without_elements_have_no_values(shape: tuple[int, int]) -> None:
    zeros = np.zeros(3, np.int16)
    for trellis_rows in (0, 2):
        grid = Grid(
            np.zeros(shape, np.int32),
            zeros[: shape[0]],
            zeros[: shape[1]],
            zeros[: shape[0]],
            zeros[: shape[1]],
            trellis_rows,
        )
        assert grid.to_dense().shape == shape


def test_steps_and_codes_out_of_range_are_refused() -> None:
    codes, zeros = np.array([[0, 1]], np.int32), np.zeros(2, np.int16)
    for row, columns in ((481, [0, 0]), (-481, [0, 0]), (240, [0, 241]), (-240, [0, -241])):
        rows = np.array([row], np.int16)
        with pytest.raises(ValueError, match="dequantize"):
            Grid(codes, rows, np.array(columns, np.int16), zeros[:1], zeros).to_dense()
    for code in (-1, 2, 2**31 - 1):
        grid = Grid(
            np.array([[code]], np.int32),
            zeros[:1],
            zeros[:1],
            zeros[:1],
            zeros[:1],
            codebook=np.ones(2, np.float32),
        )
        with pytest.raises(ValueError, match="dequantize"):
            grid.to_dense()
