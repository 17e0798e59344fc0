"""How a matrix is cut into blocks and a block into streams. Writers choose; readers take what the file says."""

from __future__ import annotations

from functools import lru_cache
from typing import NamedTuple

# A stream of 128Ki elements spreads its 32 states (128 bytes) thinly; four of them keep the vector units of a CPU
# or four GPU warps busy.
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


@lru_cache(maxsize=4096)
def choose_blocks(
    rows: int, columns: int, target: int, row_multiple: int = 1, column_multiple: int = LANE_MULTIPLE
) -> Blocks:
    """Return equal blocks of at most about `target` elements: whole rows, or tiles of longer rows.

    row_multiple: block rows are a multiple of it unless one block holds all rows.
    column_multiple: block columns are a multiple of it, itself a multiple of 32, unless one block is as wide as a row.
    Guarantee: block rows * block columns <= 2**20 for target <= 2**19 if row_multiple * column_multiple <= 2**19.
    """
    if rows == 0 or columns == 0:
        return Blocks(0, 0)
    block_columns = columns
    least_rows = min(row_multiple, rows)
    if columns * least_rows > max(target, column_multiple):
        widest = max(target // least_rows, column_multiple)
        n_tiles = -(-columns // widest)
        block_columns = min(_round_up(-(-columns // n_tiles), column_multiple), columns)
    n_row_tiles = -(-rows // max(target // block_columns, 1))
    block_rows = -(-rows // n_row_tiles)
    if block_rows < rows:
        block_rows = min(max(block_rows // row_multiple, 1) * row_multiple, rows)
    return Blocks(block_rows, block_columns)


def _round_up(value: int, multiple: int) -> int:
    return -(-value // multiple) * multiple


def choose_streams(n_elements: int, haste: int = 1) -> int:
    """Number of streams of a block.

    haste: 2 or 4 make streams so much shorter. Decoders take two or four of a block in lockstep, in little more time
        than one; a block of a small matrix has several only then. Costs bytes for the states.
    """
    return min(max(round(n_elements * haste / STREAM_ELEMENTS), 1), MAX_STREAMS)


def choose_lanes(n_elements: int, n_streams: int) -> int:
    """Lanes of a stream: 32 where speed counts, fewer where the bytes of the states would show."""
    per_stream = n_elements // n_streams
    return 32 if per_stream >= 1 << 15 else 8 if per_stream >= 1 << 12 else 2 if per_stream >= 256 else 1
