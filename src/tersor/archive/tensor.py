"""One stored tensor: any rectangle of it, or all its bytes in order, block by block."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from functools import partial
from itertools import islice

import numpy as np

from tersor.archive.blocks import Block, BlockTable, pieces, runs, stored_region
from tersor.archive.limits import MAX_RUN_BYTES
from tersor.archive.parallel import in_order
from tersor.archive.ranges import Ranges
from tersor.errors import CorruptError, NewerFormatError, UsageError
from tersor.layouts.base import BlockDecoder, matrix_shape
from tersor.layouts.dense import DenseDecoder
from tersor.layouts.grid import Grid
from tersor.layouts.grid_layout import GridDecoder
from tersor.types import TensorSpec

Problem = Callable[[str], None]


class StoredTensor:
    """A tensor of an archive file, ready to be decoded. Several threads may use one at a time.

    begin: where its stream starts in the file. flip: its last two dimensions if it is stored transposed.
    compiled: decodes many blocks in one call (`batch.read_whole`), None where the layout has no such decoder.
    """

    def __init__(
        self,
        ranges: Ranges,
        spec: TensorSpec,
        begin: int,
        table: BlockTable,
        decoder: BlockDecoder,
        flip: tuple[int, int] | None,
    ) -> None:
        self.spec = spec
        self.table = table
        self._ranges = ranges
        self._begin = begin
        self._decoder = decoder
        self._flip = flip
        self._payloads_kept: np.ndarray | None = None
        self.compiled = (
            decoder.compiled(
                (table.rows, table.columns),
                (table.block_rows, table.block_columns),
                table.offsets,
                table.checksums,
            )
            if isinstance(decoder, DenseDecoder) and len(table)
            else None
        )

    @property
    def where(self) -> str:
        return f"{self._ranges.name}: tensor {self.spec.name!r}"

    @property
    def is_remote(self) -> bool:
        """Whether its bytes are fetched when they are asked for."""
        return self._ranges.is_remote

    def payload(self, number: int) -> memoryview:
        """Return the stored bytes of one block."""
        return self.payloads(number, number + 1)

    def payloads(self, first: int, end: int) -> memoryview:
        """Return the stored bytes of blocks first .. end - 1, one after another."""
        offsets = self.table.offsets
        return self._ranges.read(self._begin + int(offsets[first]), self._begin + int(offsets[end]))

    def all_payloads(self) -> np.ndarray:
        """Return the stored bytes of all blocks, uint8; of a local file, which they are views of, they are kept."""
        if self._payloads_kept is not None:
            return self._payloads_kept
        payloads = np.asarray(self.payloads(0, len(self.table)))
        if not self.is_remote:
            self._payloads_kept = payloads
        return payloads

    def _payloads(self, blocks: Iterable[Block], release: bool = False) -> Iterator[tuple[Block, memoryview]]:
        """Yield blocks with their payloads. Those side by side in the file come from one read, nothing else is read.

        release: each read's bytes are released when the next is due.
        """
        offsets = self.table.offsets
        for run in runs(blocks, offsets, MAX_RUN_BYTES):
            first, end = int(offsets[run[0].number]), int(offsets[run[-1].number + 1])
            data = self._ranges.read(self._begin + first, self._begin + end)
            for block in run:
                begin, stop = (int(offset) - first for offset in offsets[block.number : block.number + 2])
                yield block, data[begin:stop]
            if release:
                self._ranges.release(self._begin + first, self._begin + end)

    def decode_block(self, block: Block, payload: memoryview, out: np.ndarray) -> None:
        """Fill `out`, the block's shape and the tensor's dtype, its rows contiguous. Raises CorruptError."""
        data = np.asarray(payload)
        if self.compiled is None or not self.compiled.decode(block.number, data, out.view(np.uint8)):
            self.decode_by_layout(block, payload, out)

    def decode_by_layout(self, block: Block, payload: memoryview, out: np.ndarray) -> None:
        """The same without the compiled decoder, which takes not every form and does not say what is wrong."""
        crc = int(self.table.checksums[block.number])
        try:
            self._decoder.decode(payload, crc, block.rows.start, block.columns.start, out)
        except (CorruptError, NewerFormatError) as exc:
            place = f"{self._ranges.name}: block {block.number} of {len(self.table)}"
            raise type(exc)(f"{place}: {exc}") from exc

    def grids(self, numbers: Iterable[int] | None = None) -> Iterator[Grid]:
        """Yield blocks as Grids, their codes not yet turned into weights.

        numbers: of the blocks; None: all, in order. The tensor must be of layout grid/1.
        Raises: UsageError for another layout, CorruptError.
        """
        if not isinstance(self._decoder, GridDecoder):
            raise UsageError(f"{self.where}: is no grid, so it has no codes; see `tersor inspect --tensors`")
        for number in range(len(self.table)) if numbers is None else numbers:
            block = self.table.block(number)
            crc = int(self.table.checksums[number])
            yield self._decoder.decode_grid(
                self.payload(number), crc, block.rows.start, block.columns.start, block.shape
            )

    def read_into(self, out: np.ndarray, rows: range, columns: range, threads: int = 1) -> None:
        """Fill `out` (len(rows), len(columns)) with that rectangle of the tensor's matrix."""
        region = stored_region(rows, columns, self._flip)
        jobs = (
            partial(self._place, block, payload, out, rows, columns)
            for block, payload in self._payloads(self.table.overlapping(*region))
        )
        for _ in in_order(jobs, threads):
            pass

    def _place(self, block: Block, payload: memoryview, out: np.ndarray, rows: range, columns: range) -> None:
        decoded: np.ndarray | None = None
        for piece in pieces(block, rows, columns, self._flip):
            target = out[
                piece.rows.start - rows.start : piece.rows.stop - rows.start,
                piece.columns.start - columns.start : piece.columns.stop - columns.start,
            ]
            if not piece.flipped and target.shape == block.shape:
                self.decode_block(block, payload, target)
                return
            if decoded is None:
                decoded = np.empty(block.shape, self.spec.numpy_dtype)
                self.decode_block(block, payload, decoded)
            part = decoded[piece.block_rows, piece.block_columns]
            target[...] = part.T if piece.flipped else part

    def chunks(self, threads: int = 1, problem: Problem | None = None) -> Iterator[memoryview]:
        """Yield all bytes of the tensor, row-major, in pieces of a block or a row of blocks.

        problem: called with the message of each damaged block, whose elements are then zero; None: it raises.
        A transposed tensor is held in memory as a whole.
        """
        if self._flip is not None:
            yield self._whole(threads, problem)
            return
        every_block = (self.table.block(number) for number in range(len(self.table)))
        parts = self._payloads(every_block, release=True)
        if self.table.is_row_major:
            jobs = (partial(self._one, block, payload, problem) for block, payload in parts)
        else:
            bands = iter(lambda: list(islice(parts, self.table.n_across)), [])
            jobs = (partial(self._band, band, problem) for band in bands)
        for array in in_order(jobs, threads):
            yield as_bytes(array)

    def _one(self, block: Block, payload: memoryview, problem: Problem | None) -> np.ndarray:
        out = np.empty(block.shape, self.spec.numpy_dtype)
        try:
            self.decode_block(block, payload, out)
        except CorruptError as exc:
            if problem is None:
                raise
            out.view(np.uint8)[...] = 0
            problem(str(exc))
        return out

    def _band(self, band: list[tuple[Block, memoryview]], problem: Problem | None) -> np.ndarray:
        """Return whole rows from blocks that lie side by side."""
        out = new_array((len(band[0][0].rows), self.table.columns), self.spec, self.where)
        for block, payload in band:
            out[:, block.columns.start : block.columns.stop] = self._one(block, payload, problem)
        return out

    def _whole(self, threads: int, problem: Problem | None) -> memoryview:
        rows, columns = matrix_shape(self.spec)
        out = new_array((rows, columns), self.spec, self.where)
        try:
            self.read_into(out, range(rows), range(columns), threads)
        except CorruptError as exc:
            if problem is None:
                raise
            problem(str(exc))
        return as_bytes(out)


def new_array(shape: tuple[int, ...], spec: TensorSpec, where: str) -> np.ndarray:
    """Return an uninitialised array for (a part of) a tensor. Raises UsageError if memory does not hold it."""
    try:
        return np.empty(shape, spec.numpy_dtype)
    except MemoryError as exc:
        raise UsageError(
            f"{where}: {list(shape)} {spec.dtype} does not fit into memory; read it in parts with rows= or columns="
        ) from exc


def as_bytes(array: np.ndarray) -> memoryview:
    """Return the bytes of a C-contiguous array."""
    return array.reshape(-1).view(np.uint8).data
