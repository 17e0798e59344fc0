from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from tersor.archive.blocks import BlockTable, pieces, stored_region
from tersor.layouts.base import n_blocks


def make_table(rows: int, columns: int, block_rows: int, block_columns: int) -> BlockTable:
    count = n_blocks(rows, columns, block_rows, block_columns)
    return BlockTable(
        rows, columns, block_rows, block_columns, 0, 0, np.arange(count + 1), np.zeros(count, np.uint32)
    )


@st.composite
def slabs_and_regions(draw: st.DrawFn):
    """A stack of matrices stored transposed or not, its block size, and a rectangle of it."""
    slabs, a, b = draw(st.integers(1, 3)), draw(st.integers(1, 7)), draw(st.integers(1, 7))
    flipped = draw(st.booleans())
    rows, columns = slabs * a, b
    begin, end = sorted(draw(st.tuples(st.integers(0, rows), st.integers(0, rows))))
    left, right = sorted(draw(st.tuples(st.integers(0, columns), st.integers(0, columns))))
    block = draw(st.tuples(st.integers(1, 9), st.integers(1, 9)))
    return slabs, a, b, flipped, range(begin, end), range(left, right), block


@given(slabs_and_regions())
def test_pieces_put_every_element_of_a_rectangle_in_its_place(case) -> None:
    slabs, a, b, flipped, rows, columns, (block_rows, block_columns) = case
    tensor = np.arange(slabs * a * b).reshape(slabs, a, b)
    stored = tensor.swapaxes(1, 2).reshape(slabs * b, a) if flipped else tensor.reshape(slabs * a, b)
    table = make_table(*stored.shape, block_rows, block_columns)
    flip = (a, b) if flipped else None
    out = np.full((len(rows), len(columns)), -1)
    for block in table.overlapping(*stored_region(rows, columns, flip)):
        content = stored[block.rows.start : block.rows.stop, block.columns.start : block.columns.stop]
        for piece in pieces(block, rows, columns, flip):
            part = content[piece.block_rows, piece.block_columns]
            target = out[
                piece.rows.start - rows.start : piece.rows.stop - rows.start,
                piece.columns.start - columns.start : piece.columns.stop - columns.start,
            ]
            assert (target == -1).all()
            target[...] = part.T if piece.flipped else part
    expected = tensor.reshape(slabs * a, b)[rows.start : rows.stop, columns.start : columns.stop]
    assert np.array_equal(out, expected)


@given(st.integers(1, 20), st.integers(1, 20), st.integers(1, 9), st.integers(1, 9))
def test_blocks_cover_the_matrix_once(rows: int, columns: int, block_rows: int, block_columns: int) -> None:
    table = make_table(rows, columns, block_rows, block_columns)
    seen = np.zeros((rows, columns), int)
    for number in range(len(table)):
        block = table.block(number)
        seen[block.rows.start : block.rows.stop, block.columns.start : block.columns.stop] += 1
    assert (seen == 1).all()


def test_only_overlapping_blocks_are_named() -> None:
    table = make_table(100, 64, 10, 32)
    numbers = [block.number for block in table.overlapping(range(25, 31), range(40, 64))]
    assert numbers == [5, 7]
