"""Blocks cover the matrix within the format's limits; streams and lanes are numbers that it knows."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tersor.layouts.base import MAX_BLOCK_ELEMENTS, n_blocks
from tersor.layouts.geometry import (
    DENSE_BLOCK_ELEMENTS,
    GRID_BLOCK_ELEMENTS,
    MAX_STREAMS,
    Blocks,
    choose_blocks,
    choose_lanes,
    choose_streams,
)

SIZES = st.integers(1, 70) | st.integers(1, 10**6) | st.integers(1, 2**40)
TARGETS = st.sampled_from([DENSE_BLOCK_ELEMENTS, GRID_BLOCK_ELEMENTS])


@given(
    SIZES, SIZES, TARGETS, st.integers(1, 70) | st.integers(1, 2**13), st.integers(1, 2).map(lambda n: 32 * n)
)
def test_blocks_keep_the_limits_of_the_format(
    rows: int, columns: int, target: int, row_multiple: int, column_multiple: int
) -> None:
    blocks = choose_blocks(rows, columns, target, row_multiple, column_multiple)
    assert 1 <= blocks.rows <= rows
    assert 1 <= blocks.columns <= columns
    assert blocks.rows * blocks.columns <= MAX_BLOCK_ELEMENTS
    assert blocks.columns % column_multiple == 0 or blocks.columns == columns
    assert blocks.rows % row_multiple == 0 or blocks.rows == rows


@given(st.integers(1, 10**6), st.integers(1, 10**6), TARGETS)
def test_blocks_are_not_needlessly_small(rows: int, columns: int, target: int) -> None:
    blocks = choose_blocks(rows, columns, target)
    n = n_blocks(rows, columns, blocks.rows, blocks.columns)
    assert blocks.rows == rows or blocks.columns * (blocks.rows + 1) > target // 2
    assert n <= 1 or 2 * rows * columns >= n * min(target, columns) // 4


@pytest.mark.parametrize(("rows", "columns"), [(0, 5), (5, 0), (0, 0)])
def test_a_matrix_without_elements_has_no_blocks(rows: int, columns: int) -> None:
    assert choose_blocks(rows, columns, DENSE_BLOCK_ELEMENTS) == Blocks(0, 0)
    assert n_blocks(rows, columns, 0, 0) == 0


def test_a_small_matrix_is_one_block() -> None:
    assert choose_blocks(384, 1536, DENSE_BLOCK_ELEMENTS) == Blocks(192, 1536)
    assert choose_blocks(384, 384, DENSE_BLOCK_ELEMENTS) == Blocks(384, 384)


@given(st.integers(0, MAX_BLOCK_ELEMENTS))
def test_streams_and_lanes_are_known_to_the_format(n_elements: int) -> None:
    n_streams = choose_streams(n_elements)
    assert 1 <= n_streams <= MAX_STREAMS <= 8
    assert choose_lanes(n_elements, n_streams) in (1, 2, 4, 8, 16, 32)


def test_small_blocks_spend_few_bytes_on_states() -> None:
    for n_elements in (1, 100, 1000, 10_000, 100_000, 500_000):
        n_streams = choose_streams(n_elements)
        n_state_bytes = 4 * n_streams * choose_lanes(n_elements, n_streams)
        assert n_state_bytes <= max(4, n_elements // 64)
