"""Blocks of float tensors, counted and coded many at a time by compiled code (form 2 of docs/format.md 4.1).

A block that another form may suit better is left to `dense_encode`, which tries them all.
"""

from __future__ import annotations

from collections.abc import Iterator
from functools import lru_cache

import numpy as np
import numpy.typing as npt

from tersor import _core
from tersor.layouts.base import Context, EncodedBlock, matrix_shape
from tersor.layouts.float_words import UNIT_BYTES, UNITS, row_length_of
from tersor.layouts.forms.words import coder_of, float_kind, haste_of
from tersor.layouts.geometry import DENSE_BLOCK_ELEMENTS, choose_blocks, choose_lanes, choose_streams
from tersor.layouts.tables import FLOAT_ROW_CLASSES, TRAILING_ZEROS, compile_tables, find_tables
from tersor.types import TensorSpec

Bytes = npt.NDArray[np.uint8]
Jobs = npt.NDArray[np.int64]
# Columns of a table of jobs, as bindings/float_blocks.cpp has them.
_ARRAY, _FIRST_BYTE, _ROWS, _COLUMNS, _UNIT, _ROW_LENGTH, _STREAMS, _LANES, _ROOM_BEGIN, _ROOM_END = range(10)


class FloatBlocks:
    """The blocks of some float tensors, in the order of the tensors and of docs/format.md 3.1.

    Holds views of the tensors that were added, and a row of integers for each block.
    """

    def __init__(self, level: str) -> None:
        self._level = level
        self._arrays: list[Bytes] = []
        self._tables: list[Jobs] = []
        self.n_bytes = 0

    @property
    def n_blocks(self) -> int:
        """Number of blocks of all tensors."""
        return sum(map(len, self._tables))

    def add(self, spec: TensorSpec, array: npt.NDArray[np.generic]) -> bool:
        """Add a tensor; False, and nothing happens, if its blocks are not runs of its bytes or hold no floats."""
        table = _jobs_of(spec.dtype, spec.shape, haste_of(self._level))
        if table is None or not array.flags.c_contiguous:
            return False
        self._append(array, table)
        return True

    def add_block(self, dtype: str, block: npt.NDArray[np.generic]) -> None:
        """Add a block (rows, columns), C-contiguous, not empty, of a dtype in UNITS, as a tensor of its own."""
        rows, columns = block.shape
        job = _job(rows, columns, 0, UNITS[dtype], haste_of(self._level))
        self._append(block, np.array([job], np.int64))

    def _append(self, array: npt.NDArray[np.generic], table: Jobs) -> None:
        self._arrays.append(array.reshape(-1).view(np.uint8))
        self._tables.append(table)
        self.n_bytes += array.nbytes

    def jobs(self) -> Jobs:
        """One row for each block; their rooms follow one another."""
        table = np.concatenate(self._tables)
        table[:, _ARRAY] = np.repeat(np.arange(len(self._tables)), [len(part) for part in self._tables])
        ends = np.cumsum(table[:, _ROOM_END])
        table[:, _ROOM_BEGIN] = ends - table[:, _ROOM_END]
        table[:, _ROOM_END] = ends
        return table

    def count(
        self,
        n_sample: int,
        balanced: npt.NDArray[np.uint64],
        fast: npt.NDArray[np.uint64],
        row_classes: npt.NDArray[np.uint64],
        threads: int = 1,
    ) -> None:
        """Add the histograms of about n_sample elements of each block to the three arrays."""
        if self._arrays:
            _core.count_float_blocks(
                self._arrays, self.jobs(), n_sample, threads, balanced, fast, row_classes
            )

    def encode(
        self, context: Context, threads: int = 1, memory: Memory | None = None
    ) -> Iterator[list[EncodedBlock | None]]:
        """Yield the blocks of each tensor; None stands for one that another form may make smaller.

        memory: where the payloads are put, valid until it is used again; by default in memory of their own.
        """
        if not self._arrays:
            return
        jobs = self.jobs()
        side, tables = (find_tables(context.table_sets, kind) for kind in ("side", float_kind(self._level)))
        assert side is not None and tables is not None
        out = (memory or Memory()).at_least(int(jobs[-1, _ROOM_END]))
        results = np.empty((len(jobs), 3), np.int64)
        _core.encode_float_blocks(
            self._arrays,
            jobs,
            coder_of(self._level),
            compile_tables(tables),
            compile_tables(side),
            FLOAT_ROW_CLASSES,
            context.next_number("raw"),
            side.n_tables > TRAILING_ZEROS,
            threads,
            out,
            results,
        )
        if (results[jobs[:, _UNIT] == UNITS["F32"], 1] > 0).any():
            context.codec_number("raw")  # of the lower halves
        view = out.data
        places = iter(results.tolist())
        for table in self._tables:
            yield [_block(view, *next(places)) for _ in table]


class Memory:
    """Memory that payloads are put into, kept from one use to the next: fresh pages cost as much as the coding."""

    def __init__(self) -> None:
        self._array = np.empty(0, np.uint8)

    def at_least(self, n_bytes: int) -> Bytes:
        """Return n_bytes or more, whatever they hold."""
        if self._array.size < n_bytes:
            self._array = np.empty(n_bytes, np.uint8)
        return self._array


def _block(view: memoryview, begin: int, end: int, crc: int) -> EncodedBlock | None:
    return EncodedBlock(view[begin:end], crc) if end > begin else None


@lru_cache(maxsize=4096)
def _jobs_of(dtype: str, shape: tuple[int, ...], haste: int) -> Jobs | None:
    """One row for each block of a tensor, its room as a length; None if none is to be coded as a run of floats."""
    if dtype not in UNITS:
        return None
    rows, columns = matrix_shape(TensorSpec("", dtype, shape))
    unit = UNITS[dtype]
    height, width = choose_blocks(rows, columns, DENSE_BLOCK_ELEMENTS)
    if height == 0 or (width < columns and rows > 1):
        return None
    jobs = []
    for row in range(0, rows, height):
        for column in range(0, columns, width):
            shape = min(height, rows - row), min(width, columns - column)
            jobs.append(_job(*shape, (row * columns + column) * UNIT_BYTES[unit], unit, haste))
    return np.array(jobs, np.int64)


def _job(rows: int, columns: int, first_byte: int, unit: int, haste: int) -> tuple[int, ...]:
    n_elements = rows * columns
    row_length = row_length_of(rows, columns)
    n_streams = choose_streams(n_elements, haste)
    room = _core.float_block_room(n_elements * UNIT_BYTES[unit], -(-n_elements // row_length))
    lanes = choose_lanes(n_elements, n_streams)
    return 0, first_byte, rows, columns, unit, row_length, n_streams, lanes, 0, room
