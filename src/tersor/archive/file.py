"""One archive file, opened: header and index read and checked, tensors decoded when asked for."""

from __future__ import annotations

from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from tersor.archive.base import Base
from tersor.archive.blocks import BlockTable, block_table, equal_table, last_two
from tersor.archive.crc import crc32c
from tersor.archive.header import Stream, decode_header, locate_index
from tersor.archive.index import Index, Prefix, TensorRecord, decode_index, spec_of, unpack_any
from tersor.archive.limits import HEAD_GUESS_BYTES
from tersor.archive.low_rank import LowRankTensor
from tersor.archive.ranges import MappedRanges, Ranges
from tersor.archive.tensor import StoredTensor
from tersor.errors import CorruptError, NewerFormatError, ShapeError, UnknownNameError
from tersor.layouts import make_layout
from tersor.layouts.base import Context, Layout
from tersor.layouts.delta import DELTA_LAYOUT, DeltaMeta
from tersor.layouts.delta_words import EQUAL
from tersor.layouts.low_rank import (
    LEFT,
    LOW_RANK_LAYOUT,
    PART_DTYPES,
    RIGHT,
    LowRankMeta,
    check_part_shapes,
    check_product,
)
from tersor.sources.header import LENGTH_BYTES
from tersor.types import DTYPES, TensorSpec

ALIAS_LAYOUT = "alias/1"
GRID_LAYOUT = "grid/1"


class ArchiveFile:
    """The tensors of one archive file by number. Opening asks for two byte ranges: header and index.

    specs: by number; tensors of a dtype that only a newer tersor knows are missing. numbers: by name, all tensors.
    low_rank: by number, what the tensors of layout low_rank/1 are made of. parts: the numbers of all those.
    Guarantee: an opened file's header, index and references are consistent with each other and with its size.
    Raises: UsageError, CorruptError, NewerFormatError.
    """

    def __init__(self, ranges: Ranges) -> None:
        self.ranges = ranges
        self.streams: list[Stream]
        self.prefix: Prefix
        self.index: Index
        self._open()
        self.specs = self._read_specs()
        self.numbers = {stream.name: number for number, stream in enumerate(self.streams)}
        self._targets = {
            number: self._alias_target(number)
            for number, record in enumerate(self.index.tensors)
            if self.layout_name(record) == ALIAS_LAYOUT
        }
        self.low_rank = {
            number: self._low_rank_meta(number)
            for number, record in enumerate(self.index.tensors)
            if self.layout_name(record) == LOW_RANK_LAYOUT
        }
        self.parts = frozenset(part for meta in self.low_rank.values() for part in meta.parts().values())
        self._context = Context(list(self.index.codecs), self.index.table_sets)
        self._tensors: dict[int, StoredTensor] = {}
        self.base = self.index.base and Base(self.index.base, self.name, None, None)

    @classmethod
    def open(cls, path: Path, name: str | None = None) -> ArchiveFile:
        """Open a local file. name: how messages call it."""
        return cls(MappedRanges(path, name))

    @property
    def name(self) -> str:
        return self.ranges.name

    @property
    def crc(self) -> int:
        """CRC-32C of the index, by which the folder record knows this file."""
        return self.prefix.index_crc

    def find_base(self, given: Path | None, folder: Path | None) -> None:
        """Say where the base of deltas is: at `given`, or from the archive's `folder` on as the file says."""
        if self.index.base is not None:
            here = None if folder is None else (folder / self.name).parent
            self.base = Base(self.index.base, self.name, given, here)

    def check_base(self) -> None:
        """Raise UsageError unless the base that deltas need, if there are any, is there and the right one."""
        if self.base is None:
            return
        self.base.open()
        for number, record in enumerate(self.index.tensors):
            if self.layout_name(record) == DELTA_LAYOUT:
                with suppress(CorruptError, NewerFormatError):  # told when the tensor is read
                    self.tensor(number)

    def layout_name(self, record: TensorRecord) -> str:
        return self.index.layouts[record.layout]

    def target(self, number: int) -> int:
        """Return the number of the tensor that holds the values: itself, or what it is an alias of."""
        return self._targets.get(number, number)

    def tensor(self, number: int) -> StoredTensor:
        """Return a tensor (aliases followed), ready to decode. Raises CorruptError, NewerFormatError."""
        number = self.target(number)
        found = self._tensors.get(number)
        if found is None:
            # Two threads may both make it; either is good.
            found = self._tensors[number] = self._prepare(number)
        return found

    def close(self) -> None:
        self._tensors.clear()
        if self.base is not None:
            self.base.close()
        self.ranges.close()

    def _open(self) -> None:
        ranges, where = self.ranges, self.ranges.name
        head = ranges.read(0, min(HEAD_GUESS_BYTES, ranges.n_bytes))
        n_header, n_index = locate_index(head, ranges.n_bytes, where)
        if n_header + n_index > len(head):
            head = ranges.read(0, n_header + n_index)
        n_data_bytes = ranges.n_bytes - n_header
        self._data_begin = n_header
        self.streams = decode_header(bytes(head[LENGTH_BYTES:n_header]), n_data_bytes, where)
        stream = head[n_header : n_header + n_index]
        self.prefix, self.index = decode_index(stream, len(self.streams), where)
        found = crc32c(head[:n_header])
        if found != self.prefix.header_crc:
            raise CorruptError(
                f"{where}: CRC-32C of the header is {found:#010x}, the file says {self.prefix.header_crc:#010x}; "
                "the file is damaged, fetch it again"
            )

    def _read_specs(self) -> dict[int, TensorSpec]:
        """Return the specs of all tensors but those whose dtype only a newer tersor knows."""
        specs = {}
        for number, (stream, record) in enumerate(zip(self.streams, self.index.tensors, strict=True)):
            if record.dtype in DTYPES:
                try:
                    specs[number] = spec_of(stream.name, record)
                except CorruptError as exc:
                    raise CorruptError(f"{self.name}: {exc}") from exc
        return specs

    def spec(self, number: int) -> TensorSpec:
        """Return what a tensor decodes to. Raises NewerFormatError if its dtype is not known."""
        if number not in self.specs:
            raise NewerFormatError(
                f"{self.name}: tensor {self.streams[number].name!r} has dtype "
                f"{self.index.tensors[number].dtype!r}, which this tersor does not know; run: pip install -U tersor"
            )
        return self.specs[number]

    def _alias_target(self, number: int) -> int:
        record, stream = self.index.tensors[number], self.streams[number]
        where = f"{self.name}: alias {stream.name!r}"
        target = unpack_any(record.meta, where)
        if not _is_empty(record, stream) or record.blake3 is not None:
            raise CorruptError(f"{where} has a stream, blocks or checksums; needs none")
        if type(target) is not int or not 0 <= target < len(self.streams):
            raise CorruptError(f"{where} of {target!r}; needs 0 to {len(self.streams) - 1}")
        other = self.index.tensors[target]
        same = (record.dtype, record.shape) == (other.dtype, other.shape)
        if not same or self.layout_name(other) == ALIAS_LAYOUT:
            raise CorruptError(
                f"{where} of {self.streams[target].name!r}, which differs in dtype or shape or is an alias"
            )
        return target

    def is_pivot(self, number: int) -> npt.NDArray[np.bool_] | None:
        """Which rows of a low-rank tensor's matrix are pivots; None if it has none."""
        shapes = {
            name: self.index.tensors[part].shape for name, part in self.low_rank[number].parts().items()
        }
        rank = shapes[RIGHT][0]
        return self.low_rank[number].pivot(shapes[LEFT][0] + rank, rank)

    def _low_rank_meta(self, number: int) -> LowRankMeta:
        """Return the checked parts of a low-rank tensor; flags are checked when it is read."""
        record, stream = self.index.tensors[number], self.streams[number]
        where = f"{self.name}: low-rank tensor {stream.name!r}"
        try:
            meta = LowRankMeta.parse(unpack_any(record.meta, "meta"))
            if not _is_empty(record, stream):
                raise CorruptError("has a stream, blocks or checksums; needs none")
            for name, part in meta.parts().items():
                self._check_part(name, part)
            shapes = {name: self.index.tensors[part].shape for name, part in meta.parts().items()}
            shape = check_part_shapes(shapes, "its parts", meta.pivots is not None)
            meta.pivot(shape[0], shapes[RIGHT][0])
            if not meta.unknown_flags and number in self.specs:
                check_product(self.specs[number], shape, meta.transposed)
        except (CorruptError, ShapeError) as exc:
            raise CorruptError(f"{where}: {exc}; the file is damaged, fetch it again") from exc
        return meta

    def _check_part(self, name: str, number: int) -> None:
        """Raise CorruptError unless a tensor can be a part: there, stored by itself, of a dtype exact in float32."""
        if number >= len(self.streams):
            raise CorruptError(f"{name} is tensor {number}; needs 0 to {len(self.streams) - 1}")
        record = self.index.tensors[number]
        layout = self.layout_name(record)
        if layout in (ALIAS_LAYOUT, DELTA_LAYOUT, LOW_RANK_LAYOUT) or record.dtype not in PART_DTYPES:
            raise CorruptError(
                f"{name} is {self.streams[number].name!r}, {record.dtype} in layout {layout}; needs one of "
                f"{', '.join(PART_DTYPES)} in a layout of its own blocks"
            )

    def layout(self, number: int) -> Layout:
        """Return the layout of a tensor. Raises NewerFormatError if this tersor does not know it."""
        name = self.layout_name(self.index.tensors[number])
        try:
            return make_layout(name)
        except UnknownNameError as exc:
            raise NewerFormatError(
                f"{self.name}: tensor {self.streams[number].name!r} is stored in layout {name!r}, which this tersor "
                f"does not know; run: pip install -U tersor ({exc})"
            ) from exc

    def _prepare(self, number: int) -> StoredTensor:
        if number in self.low_rank:
            return self._prepare_low_rank(number)
        record, spec, stream = self.index.tensors[number], self.spec(number), self.streams[number]
        where = f"{self.name}: tensor {spec.name!r}"
        layout = self.layout(number)
        begin = self._data_begin + stream.begin
        try:
            meta = unpack_any(record.meta, "meta")
            matrix = layout.matrix_shape(spec, meta)
            context, table = self._context, None
            if self.layout_name(record) == DELTA_LAYOUT:
                context, table = self._delta(record, spec, meta, matrix, stream.end - stream.begin)
            if table is None:
                table = block_table(record, matrix, stream.end - stream.begin)
            flip = last_two(spec) if _is_transposed(self.layout_name(record), meta) else None
            head = (
                self.ranges.read(begin, begin + table.n_head_bytes) if table.n_head_bytes else memoryview(b"")
            )
            decoder = layout.decoder(spec, meta, head, table.head_crc, context)
        except CorruptError as exc:
            raise CorruptError(f"{where}: {exc}; the file is damaged, fetch it again") from exc
        except NewerFormatError as exc:
            raise NewerFormatError(f"{where}: {exc}") from exc
        return StoredTensor(self.ranges, spec, begin, table, decoder, flip)

    def _prepare_low_rank(self, number: int) -> LowRankTensor:
        spec, meta = self.spec(number), self.low_rank[number]
        try:
            flip = last_two(spec) if meta.transposed else None
        except NewerFormatError as exc:
            raise NewerFormatError(f"{self.name}: tensor {spec.name!r}: {exc}") from exc
        parts = {name: self.tensor(part) for name, part in meta.parts().items()}
        return LowRankTensor(self.ranges, spec, parts, self.is_pivot(number), flip)

    def _delta(
        self, record: TensorRecord, spec: TensorSpec, meta: Any, matrix: tuple[int, int], n_stream_bytes: int
    ) -> tuple[Context, BlockTable | None]:
        """Return the context with the base of a delta, and the blocks of one that equals its base."""
        parsed = DeltaMeta.parse(meta)
        digest = record.blake3 if parsed.kind == EQUAL else parsed.base_digest
        if self.base is None or digest is None:
            raise CorruptError("a delta without the record of its base or the hash of its tensor")
        context = replace(self._context, base=self.base.reader(spec, parsed, digest))
        return context, equal_table(record, matrix, n_stream_bytes) if parsed.kind == EQUAL else None


def _is_empty(record: TensorRecord, stream: Stream) -> bool:
    """Whether a tensor has no stream, head or blocks of its own."""
    has_blocks = record.block_rows or record.block_columns or record.block_lengths or record.checksums
    return stream.begin == stream.end and not (record.head or has_blocks)


def _is_transposed(layout: str, meta: Any) -> bool:
    """Whether the stored matrix is that of the tensor with its last two dimensions swapped."""
    return layout == GRID_LAYOUT and bool(meta[0] & 1)
