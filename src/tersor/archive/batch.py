"""Whole tensors, many at a time: the compiled decoder takes all their blocks in one call, shared out among threads."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from functools import partial

import numpy as np

from tersor import _core
from tersor.archive.parallel import in_order, together
from tersor.archive.tensor import StoredTensor
from tersor.layouts.base import matrix_shape

Read = tuple[StoredTensor, np.ndarray]


def read_whole(reads: Sequence[Read], threads: int = 1) -> None:
    """Fill each array, C-contiguous and of its tensor's shape and dtype, with all elements of its tensor.

    threads: blocks decoded at a time, of whichever tensors; those behind a URL come one by one, in the runs that
        `StoredTensor.read_into` fetches.
    Raises: CorruptError of the first damaged block of the first tensor that has one, NewerFormatError, TransferError.
    """
    compiled = [read for read in reads if read[0].compiled is not None]
    _read_compiled([read for read in compiled if not read[0].is_remote], threads)
    for tensor, out in reads:
        if tensor.compiled is None or tensor.is_remote:
            rows, columns = matrix_shape(tensor.spec)
            tensor.read_into(out.reshape(rows, columns), range(rows), range(columns), threads)


def _read_compiled(reads: Sequence[Read], threads: int) -> None:
    threads = max(min(threads, sum(len(tensor.table) for tensor, _ in reads)), 1)
    batches: list[tuple[_core.DenseBatch, list[int]]] = []

    def works() -> Iterator[Callable[[], None]]:
        for numbers in _portions(reads, threads):
            batch = _batch([reads[number] for number in numbers], threads)
            batches.append((batch, numbers))
            yield batch.run

    together(works(), threads)
    left = sorted((numbers[place], block) for batch, numbers in batches for place, block in batch.left())
    jobs = (partial(_decode_left, *reads[number], block) for number, block in left)
    for _ in in_order(jobs, threads):
        pass


def _portions(reads: Sequence[Read], threads: int) -> Iterator[list[int]]:
    """Yield the numbers of all reads; with several threads a quarter of the bytes first, which is soon prepared."""
    numbers = list(range(len(reads)))
    n_first = 0
    if threads > 1:
        numbers.sort(key=lambda number: -reads[number][1].nbytes)
        n_missing = sum(out.nbytes for _, out in reads) / 4
        while n_missing > 0 and n_first < len(numbers):
            n_missing -= reads[numbers[n_first]][1].nbytes
            n_first += 1
        yield numbers[:n_first]
    yield numbers[n_first:]


def _batch(reads: Sequence[Read], threads: int) -> _core.DenseBatch:
    batch = _core.DenseBatch()
    for tensor, out in reads:
        batch.add(
            tensor.compiled, 0, len(tensor.table), tensor.all_payloads(), out.reshape(-1).view(np.uint8)
        )
    batch.arrange(largest_first=threads > 1)
    return batch


def _decode_left(tensor: StoredTensor, out: np.ndarray, number: int) -> None:
    """Decode a block that the compiled decoder did not: of a rare form, or damaged, of which this is what tells."""
    block = tensor.table.block(number)
    matrix = out.reshape(tensor.table.rows, tensor.table.columns)
    part = matrix[block.rows.start : block.rows.stop, block.columns.start : block.columns.stop]
    tensor.decode_by_layout(block, tensor.payload(number), part)
