"""Where the blocks of a tensor lie, in its stream and in its matrix (docs/format.md 3.1)."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

import numpy as np

from tersor.archive.index import TensorRecord
from tersor.archive.varint import decode_varints
from tersor.errors import CorruptError
from tersor.layouts.base import MAX_BLOCK_ELEMENTS, n_blocks
from tersor.layouts.geometry import DENSE_BLOCK_ELEMENTS, choose_blocks
from tersor.types import TensorSpec

_COLUMN_MULTIPLE = 32


@dataclass(frozen=True, slots=True)
class Block:
    """One block of the stored matrix: its number and the rows and columns that it covers."""

    number: int
    rows: range
    columns: range

    @property
    def shape(self) -> tuple[int, int]:
        return len(self.rows), len(self.columns)


@dataclass(frozen=True, slots=True)
class BlockTable:
    """The blocks of one tensor.

    rows, columns: of the stored matrix. offsets: int64 (n_blocks + 1), from the start of the stream.
    checksums: uint32 (n_blocks). head_crc: 0 if there is no head.
    """

    rows: int
    columns: int
    block_rows: int
    block_columns: int
    n_head_bytes: int
    head_crc: int
    offsets: np.ndarray
    checksums: np.ndarray

    def __len__(self) -> int:
        return int(self.checksums.size)

    @property
    def n_across(self) -> int:
        """Blocks side by side; 0 if there are none."""
        return -(-self.columns // self.block_columns) if len(self) else 0

    @property
    def is_row_major(self) -> bool:
        """Whether the blocks one after another are the matrix row by row."""
        return self.block_rows == 1 or self.n_across <= 1

    def block(self, number: int) -> Block:
        down, across = divmod(number, self.n_across)
        row, column = down * self.block_rows, across * self.block_columns
        return Block(
            number,
            range(row, min(row + self.block_rows, self.rows)),
            range(column, min(column + self.block_columns, self.columns)),
        )

    def overlapping(self, rows: range, columns: range) -> Iterator[Block]:
        """Yield the blocks that hold any of these rows and columns of the stored matrix, in order."""
        if not (len(self) and rows and columns):
            return
        first, last = columns.start // self.block_columns, (columns.stop - 1) // self.block_columns
        for down in range(rows.start // self.block_rows, (rows.stop - 1) // self.block_rows + 1):
            for across in range(first, last + 1):
                yield self.block(down * self.n_across + across)


def block_table(record: TensorRecord, matrix: tuple[int, int], n_stream_bytes: int) -> BlockTable:
    """Return the checked block table of a tensor.

    matrix: (rows, columns) as its layout stores it.
    Guarantee: head and blocks fill the stream exactly; every block has at most 2**20 elements.
    Raises: CorruptError.
    """
    rows, columns = matrix
    _check_block_shape(record, rows, columns)
    count = n_blocks(rows, columns, record.block_rows, record.block_columns)
    n_checksums = count + (record.head > 0)
    # Both before any array of `count` is made: a hostile shape may claim 2**48 blocks.
    if len(record.checksums) != 4 * n_checksums or len(record.block_lengths) < count:
        raise CorruptError(
            f"{count} blocks need {4 * n_checksums} bytes of checksums and {count} lengths, "
            f"the index has {len(record.checksums)} and at most {len(record.block_lengths)}"
        )
    lengths = decode_varints(record.block_lengths, count, "block lengths")
    total = record.head + sum(lengths.tolist())  # Python's integers: int64 could wrap around
    if total != n_stream_bytes:
        raise CorruptError(
            f"head of {record.head} bytes and {count} blocks do not fill the stream's {n_stream_bytes} bytes"
        )
    offsets = np.empty(count + 1, np.int64)
    offsets[0] = 0
    np.cumsum(lengths, out=offsets[1:])
    offsets += record.head
    checksums = np.frombuffer(record.checksums, "<u4")
    has_head = record.head > 0
    return BlockTable(
        rows=rows,
        columns=columns,
        block_rows=record.block_rows,
        block_columns=record.block_columns,
        n_head_bytes=record.head,
        head_crc=int(checksums[0]) if has_head else 0,
        offsets=offsets,
        checksums=checksums[1:] if has_head else checksums,
    )


def equal_table(record: TensorRecord, matrix: tuple[int, int], n_stream_bytes: int) -> BlockTable:
    """Return the blocks, all without bytes, of a tensor stored as equal to one that exists. Raises CorruptError."""
    if n_stream_bytes or record.head or record.block_rows or record.block_columns:
        raise CorruptError("a tensor stored as equal to its base has a stream or blocks; needs none")
    if record.block_lengths or record.checksums:
        raise CorruptError("a tensor stored as equal to its base has lengths or checksums; needs none")
    rows, columns = matrix
    blocks = choose_blocks(rows, columns, DENSE_BLOCK_ELEMENTS)
    count = n_blocks(rows, columns, blocks.rows, blocks.columns)
    offsets, checksums = np.zeros(count + 1, np.int64), np.zeros(count, np.uint32)
    return BlockTable(rows, columns, blocks.rows, blocks.columns, 0, 0, offsets, checksums)


def _check_block_shape(record: TensorRecord, rows: int, columns: int) -> None:
    block_rows, block_columns = record.block_rows, record.block_columns
    if rows == 0 or columns == 0:
        if record.head or block_rows or block_columns:
            raise CorruptError("a tensor without elements has a head or blocks; needs none")
        return
    is_inside = 0 < block_rows <= rows and 0 < block_columns <= columns
    if (
        not is_inside
        or block_rows * block_columns > MAX_BLOCK_ELEMENTS
        or (block_columns % _COLUMN_MULTIPLE and block_columns != columns)
    ):
        raise CorruptError(
            f"blocks of {block_rows} x {block_columns} in a matrix of {rows} x {columns}; needs 1 to "
            f"{MAX_BLOCK_ELEMENTS} elements inside the matrix, and columns a multiple of {_COLUMN_MULTIPLE} "
            f"or all {columns}"
        )


def runs(blocks: Iterable[Block], offsets: np.ndarray, max_bytes: int) -> Iterator[list[Block]]:
    """Yield the blocks in lists of such as lie side by side in the stream and take max_bytes together, or one block."""
    run: list[Block] = []
    for block in blocks:
        if run and (
            block.number != run[-1].number + 1
            or offsets[block.number + 1] - offsets[run[0].number] > max_bytes
        ):
            yield run
            run = []
        run.append(block)
    if run:
        yield run


@dataclass(frozen=True, slots=True)
class Piece:
    """A part of a stored block that lies in one rectangle of the tensor's matrix.

    rows, columns: in the tensor's matrix. block_rows, block_columns: in the block.
    flipped: the block's part is the transpose of the rectangle.
    """

    rows: range
    columns: range
    block_rows: slice
    block_columns: slice
    flipped: bool


def pieces(block: Block, rows: range, columns: range, flip: tuple[int, int] | None) -> Iterator[Piece]:
    """Yield the parts of a block that lie in the given rows and columns of the tensor's matrix.

    flip: None if the matrix is stored as it is; else the tensor's last two dimensions (a, b), stored swapped:
        row l * a + i, column j of the tensor is row l * b + j, column i of the stored matrix.
    """
    if flip is None:
        yield from _piece(block, rows, columns, block.rows, block.columns, 0, False)
        return
    a, b = flip
    for slab in range(block.rows.start // b, (block.rows.stop - 1) // b + 1):
        stored = _common(block.rows, range(slab * b, (slab + 1) * b))
        tensor_rows = range(slab * a + block.columns.start, slab * a + block.columns.stop)
        tensor_columns = range(stored.start - slab * b, stored.stop - slab * b)
        skipped = stored.start - block.rows.start
        yield from _piece(block, rows, columns, tensor_rows, tensor_columns, skipped, True)


def _piece(
    block: Block,
    rows: range,
    columns: range,
    covered_rows: range,
    covered_columns: range,
    skipped: int,
    flipped: bool,
) -> Iterator[Piece]:
    wanted_rows, wanted_columns = _common(rows, covered_rows), _common(columns, covered_columns)
    if not (wanted_rows and wanted_columns):
        return
    down, across = _within(wanted_rows, covered_rows), _within(wanted_columns, covered_columns)
    if flipped:
        down, across = slice(skipped + across.start, skipped + across.stop), down
    yield Piece(wanted_rows, wanted_columns, down, across, flipped)


def _common(first: range, second: range) -> range:
    begin = max(first.start, second.start)
    return range(begin, max(begin, min(first.stop, second.stop)))


def _within(part: range, whole: range) -> slice:
    return slice(part.start - whole.start, part.stop - whole.start)


def stored_region(rows: range, columns: range, flip: tuple[int, int] | None) -> tuple[range, range]:
    """Return rows and columns of the stored matrix that contain these of the tensor's matrix (maybe more)."""
    if flip is None or not (rows and columns):
        return rows, columns
    a, b = flip
    first, last = rows.start // a, (rows.stop - 1) // a
    if first < last:
        return range(first * b, (last + 1) * b), range(a)
    return (
        range(first * b + columns.start, first * b + columns.stop),
        range(rows.start - first * a, rows.stop - first * a),
    )


def last_two(spec: TensorSpec) -> tuple[int, int]:
    """Return the last two dimensions of a tensor that may be stored transposed. Raises CorruptError."""
    if len(spec.shape) < 2 or spec.is_sub_byte:
        raise CorruptError(f"shape {list(spec.shape)} {spec.dtype} cannot be stored transposed")
    return spec.shape[-2], spec.shape[-1]
