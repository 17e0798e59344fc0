"""How a matrix is cut into blocks and a block into streams. Writers choose; readers take what the file says."""

from __future__ import annotations

from typing import NamedTuple

from tersor.layouts.base import MAX_BLOCK_ELEMENTS

# A stream of 128Ki elements spreads its 32 states (128 bytes) thinly; four of them keep a CPU's vector units or four GPU warps busy.
STREAM_ELEMENTS = 1 << 17
MAX_STREAMS = 4
DENSE_BLOCK_ELEMENTS = STREAM_ELEMENTS * MAX_STREAMS
GRID_BLOCK_ELEMENTS = 1 << 18
# An interleaved stream reads 32 elements at once, so that lanes of column tiles stay aligned.
LANE_MULTIPLE = 32


class Blocks(NamedTuple):
    """Rows and columns of a block; (0, 0) for a matrix without elements."""

    rows: int
    columns: int


def choose_blocks(rows: int, columns: int, target: int, row_multiple: int = 1) -> Blocks:
    """Return equal blocks of at most about `target` elements: whole rows, or runs of one row that is longer.

    row_multiple: block rows are a multiple of it unless one block holds all rows.
    Guarantee: block rows * block columns <= 2**20; block columns are `columns` or a multiple of 32.
    """
    if rows == 0 or columns == 0:
        return Blocks(0, 0)
    block_columns = columns
    if columns * min(row_multiple, rows) > max(target, LANE_MULTIPLE):
        widest = max(target // min(row_multiple, rows), LANE_MULTIPLE)
        n_tiles = -(-columns // widest)
        block_columns = -(-(-(-columns // n_tiles)) // LANE_MULTIPLE) * LANE_MULTIPLE
    n_row_tiles = -(-rows // max(target // block_columns, 1))
    block_rows = -(-rows // n_row_tiles)
    if block_rows < rows:
        block_rows = min(max(block_rows // row_multiple, 1) * row_multiple, rows)
    assert block_rows * block_columns <= MAX_BLOCK_ELEMENTS
    return Blocks(block_rows, block_columns)


def choose_streams(n_elements: int) -> int:
    """Number of streams of a block."""
    return min(max(round(n_elements / STREAM_ELEMENTS), 1), MAX_STREAMS)


def choose_lanes(n_elements: int, n_streams: int) -> int:
    """Lanes of a stream: 32 where speed counts, fewer where the bytes of the states would show."""
    per_stream = n_elements // n_streams
    return 32 if per_stream >= 1 << 15 else 8 if per_stream >= 1 << 12 else 2 if per_stream >= 256 else 1
