"""The index of an archive file (docs/format.md 3): records in, the bytes of `tersor.index` out, and back."""

from __future__ import annotations

import struct
from collections.abc import Iterable
from math import prod
from typing import Annotated, Any

import msgspec
import zstandard
from msgspec import Meta, Raw

from tersor.archive import limits
from tersor.archive.crc import crc32c
from tersor.errors import CorruptError, NewerFormatError, UsageError
from tersor.layouts.tables import TableSet
from tersor.types import TensorSpec

MAGIC = b"tersor"
PREFIX = struct.Struct("<6sBBIII")  # magic, version, 0, index length, index CRC, header CRC
_ZSTD_LEVEL = 19
# Far beyond what version 1 uses; the tables themselves are checked when a tensor needs them.
_MAX_SYMBOLS, _MAX_PRECISION, _MAX_CLASS = 1 << 16, 32, 1 << 30
_SINGLE_KINDS = ("float12", "float8", "float12max", "codes", "side")  # a block finds these by their kind

Natural = Annotated[int, Meta(ge=0, le=limits.MAX_ELEMENTS)]
Names = Annotated[list[str], Meta(max_length=limits.MAX_NAMES)]
Digest = Annotated[bytes, Meta(min_length=limits.MIN_DIGEST_BYTES, max_length=limits.MAX_DIGEST_BYTES)]
Sha256 = Annotated[bytes, Meta(min_length=limits.SHA256_BYTES, max_length=limits.SHA256_BYTES)]
Crc = Annotated[int, Meta(ge=0, lt=1 << 32)]

_encoder = msgspec.msgpack.Encoder(order="deterministic")


class TensorRecord(msgspec.Struct, array_like=True, frozen=True):
    """One stream: what it decodes to and where its blocks end (format.md 3.1)."""

    dtype: str
    shape: Annotated[tuple[Natural, ...], Meta(max_length=limits.MAX_RANK)]
    layout: Natural
    meta: Raw
    blake3: Digest | None
    head: Natural
    block_rows: Natural
    block_columns: Natural
    block_lengths: bytes
    checksums: bytes


class FileRecord(msgspec.Struct, array_like=True, frozen=True):
    """An original file and the pieces that it is put together from: literal bytes, or a tensor's number."""

    path: str
    n_bytes: Natural
    sha256: Sha256
    segments: Annotated[list[bytes | Natural], Meta(max_length=2 * limits.MAX_TENSORS)]

    @property
    def is_plain(self) -> bool:
        """Whether the file is one tensor and nothing else (format.md 3.3)."""
        return len(self.segments) == 1 and isinstance(self.segments[0], int)


class ArchiveRecord(msgspec.Struct, array_like=True, frozen=True):
    """Another archive file of the folder, and the CRC-32C of its index."""

    path: str
    crc: Crc


class SideRecord(msgspec.Struct, array_like=True, frozen=True):
    """An original file outside the archive files. content: its bytes if what lies there was changed."""

    path: str
    n_bytes: Natural
    sha256: Sha256
    content: bytes | None


class FolderRecord(msgspec.Struct, array_like=True, frozen=True):
    """What the primary archive file knows of the whole folder (format.md 3.4)."""

    is_file: bool
    archives: Annotated[list[ArchiveRecord], Meta(max_length=limits.MAX_PATHS)]
    side_files: Annotated[list[SideRecord], Meta(max_length=limits.MAX_PATHS)]
    empty_folders: Annotated[list[str], Meta(max_length=limits.MAX_PATHS)]
    lossless: bool


class BaseRecord(msgspec.Struct, array_like=True, frozen=True):
    """The model that deltas are stored against (format.md 3.6). hint: its path from the file's folder, may be empty."""

    hint: Annotated[str, Meta(max_length=limits.MAX_HINT_CHARACTERS)]
    content: Annotated[bytes, Meta(min_length=limits.MAX_DIGEST_BYTES, max_length=limits.MAX_DIGEST_BYTES)]


class Index(msgspec.Struct, array_like=True, frozen=True):
    """Everything that a reader needs besides the header and the blocks."""

    producer: str
    layouts: Names
    codecs: Names
    table_sets: Annotated[list[TableSet], Meta(max_length=limits.MAX_NAMES)]
    tensors: Annotated[list[TensorRecord], Meta(max_length=limits.MAX_TENSORS)]
    files: Annotated[list[FileRecord], Meta(max_length=limits.MAX_PATHS)]
    provenance: Raw
    folder: FolderRecord | None
    base: BaseRecord | None = None

    def provenance_dict(self) -> dict[str, Any]:
        """What made the file. Raises CorruptError if it is not a map of the types that the format allows."""
        value = unpack_any(self.provenance, "provenance")
        if not isinstance(value, dict) or not is_plain_data(value):
            raise CorruptError("provenance: not a map of strings, numbers, booleans, nil, arrays and maps")
        return value


class Prefix(msgspec.Struct, frozen=True):
    """The 20 bytes in front of the index, checked."""

    n_index_bytes: int
    index_crc: int
    header_crc: int


def pack_any(value: Any) -> Raw:
    """Return a value as MessagePack, maps in sorted order, so that equal values are equal bytes."""
    return Raw(_encoder.encode(value))


def unpack_any(raw: Raw, what: str) -> Any:
    """Return a MessagePack value. Raises CorruptError, also for one nested beyond what messages and JSON can show."""
    try:
        value = msgspec.msgpack.decode(raw)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as exc:
        raise CorruptError(f"{what}: is no MessagePack value ({exc})") from exc
    if _is_deep(value, limits.MAX_NESTING):
        raise CorruptError(f"{what}: more than {limits.MAX_NESTING} arrays and maps inside each other")
    return value


def _is_deep(value: object, n_levels: int) -> bool:
    """Whether more than n_levels containers lie inside each other."""
    if not isinstance(value, dict | list | tuple):
        return False
    items = [*value.keys(), *value.values()] if isinstance(value, dict) else value
    return n_levels == 0 or any(_is_deep(item, n_levels - 1) for item in items)


def is_plain_data(value: object) -> bool:
    """Whether a value is JSON-like: str, number, bool, None, and lists and str-keyed maps of them."""
    if isinstance(value, dict):
        return all(isinstance(key, str) and is_plain_data(item) for key, item in value.items())
    if isinstance(value, list | tuple):
        return all(is_plain_data(item) for item in value)
    return value is None or isinstance(value, str | int | float | bool)


def encode_index(index: Index) -> tuple[bytes, int, int]:
    """Return (zstd frame, length of the index, CRC-32C of the index).

    Raises: UsageError if the index breaks a limit of the format, as no reader would open it.
    """
    # Without a base the index ends before it, as in the first archives.
    data = _encoder.encode(index if index.base is not None else msgspec.structs.astuple(index)[:-1])
    frame = zstandard.ZstdCompressor(level=_ZSTD_LEVEL, write_checksum=False).compress(data)
    if len(data) > limits.max_index_bytes(len(frame)):
        raise UsageError(
            f"the index would take {len(data)} bytes ({len(frame)} compressed), the format allows "
            f"{limits.max_index_bytes(len(frame))}; split the checkpoint into more shards"
        )
    return frame, len(data), crc32c(frame)


def encode_prefix(n_index_bytes: int, index_crc: int, header_crc: int) -> bytes:
    """Return the 20 bytes that stand in front of the index's zstd frame."""
    return PREFIX.pack(MAGIC, limits.FORMAT_VERSION, 0, n_index_bytes, index_crc, header_crc)


def decode_prefix(stream: memoryview, where: str) -> Prefix:
    """Return the checked prefix of the stream `tersor.index`. Raises CorruptError, NewerFormatError."""
    if len(stream) < PREFIX.size:
        raise CorruptError(f"{where}: tersor.index has {len(stream)} bytes, needs at least {PREFIX.size}")
    magic, version, zero, n_index_bytes, index_crc, header_crc = PREFIX.unpack_from(stream)
    if magic != MAGIC:
        raise CorruptError(f"{where}: tersor.index starts with {magic!r}, needs {MAGIC!r}")
    if version > limits.FORMAT_VERSION:
        raise NewerFormatError(
            f"{where}: format version {version}, this tersor reads up to {limits.FORMAT_VERSION}; "
            "run: pip install -U tersor"
        )
    limit = limits.max_index_bytes(len(stream) - PREFIX.size)
    if version < 1 or zero or not 0 < n_index_bytes <= limit:
        raise CorruptError(
            f"{where}: tersor.index says version {version}, reserved byte {zero}, {n_index_bytes} bytes of index; "
            f"needs version 1, 0, and 1 to {limit} bytes; the file is damaged, fetch it again"
        )
    return Prefix(n_index_bytes, index_crc, header_crc)


def decode_index(stream: memoryview, n_streams: int, where: str) -> tuple[Prefix, Index]:
    """Return the checked content of the stream `tersor.index`.

    n_streams: streams after it in the header; the index must describe as many tensors.
    Guarantee: all numbers are in range, all references point to something, all paths stay inside a folder.
        Block lengths and metas are checked by `blocks.block_table`, as their layout may be unknown.
    Raises: CorruptError, NewerFormatError.
    """
    prefix = decode_prefix(stream, where)
    frame = stream[PREFIX.size :]
    if crc32c(frame) != prefix.index_crc:
        raise CorruptError(
            f"{where}: CRC-32C of the index is {crc32c(frame):#010x}, the file says {prefix.index_crc:#010x}; "
            "the file is damaged, fetch it again"
        )
    data = _decompress(frame, prefix.n_index_bytes, where)
    try:
        index = msgspec.msgpack.decode(data, type=Index)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as exc:
        raise CorruptError(f"{where}: the index breaks the format: {exc}") from exc
    try:
        _check_table_sets(index.table_sets)
        _check_tensors(index, n_streams)
        _check_files(index)
        _check_folder(index.folder)
        _check_base(index.base)
    except CorruptError as exc:
        raise CorruptError(f"{where}: the index breaks the format: {exc}") from exc
    return prefix, index


def _decompress(frame: memoryview, n_bytes: int, where: str) -> bytes:
    """Return the one zstd frame's content. Raises CorruptError unless it is exactly n_bytes, known in advance."""
    try:
        claimed = zstandard.frame_content_size(frame)
        if claimed != n_bytes:
            raise CorruptError(
                f"{where}: the index's zstd frame holds {claimed} bytes, the file says {n_bytes}"
            )
        decompressor = zstandard.ZstdDecompressor(max_window_size=limits.MAX_INDEX_BYTES).decompressobj()
        data = decompressor.decompress(frame)
    except zstandard.ZstdError as exc:
        raise CorruptError(
            f"{where}: the index's zstd frame is damaged: {exc}; fetch the file again"
        ) from exc
    if len(data) != n_bytes or not decompressor.eof or decompressor.unused_data:
        raise CorruptError(f"{where}: the index's zstd frame is truncated or followed by other bytes")
    return data


def _check_table_sets(table_sets: list[TableSet]) -> None:
    kinds = [tables.kind for tables in table_sets]
    for kind in _SINGLE_KINDS:
        if kinds.count(kind) > 1:
            raise CorruptError(f"{kinds.count(kind)} table sets of kind {kind!r}; needs at most one")
    for number, tables in enumerate(table_sets):
        in_range = 0 < tables.symbols <= _MAX_SYMBOLS and 0 < tables.precision <= _MAX_PRECISION
        if not in_range or abs(tables.first_class) > _MAX_CLASS:
            raise CorruptError(
                f"table set {number}: {tables.symbols} symbols, precision {tables.precision}, "
                f"first class {tables.first_class}; needs at most {_MAX_SYMBOLS}, {_MAX_PRECISION}, {_MAX_CLASS}"
            )


def _check_tensors(index: Index, n_streams: int) -> None:
    if len(index.tensors) != n_streams:
        raise CorruptError(f"{len(index.tensors)} tensors for {n_streams} streams")
    for number, record in enumerate(index.tensors):
        if record.layout >= len(index.layouts):
            raise CorruptError(f"tensor {number}: layout {record.layout} of {len(index.layouts)}")
        if len(record.checksums) % 4:
            raise CorruptError(f"tensor {number}: {len(record.checksums)} bytes of checksums")


def spec_of(name: str, record: TensorRecord) -> TensorSpec:
    """Return what a stream decodes to. Raises NewerFormatError (dtype), CorruptError (size)."""
    spec = TensorSpec(name, record.dtype, record.shape)
    # Without the zeros, as numpy refuses (0, 2**47, 2**47) although it is empty.
    if prod(size for size in spec.shape if size) > limits.MAX_ELEMENTS:
        raise CorruptError(f"tensor {name!r}: shape {list(spec.shape)} has 2**48 elements or more")
    return spec


def _check_files(index: Index) -> None:
    check_paths([record.path for record in index.files])
    for record in index.files:
        for segment in record.segments:
            if isinstance(segment, int) and segment >= len(index.tensors):
                raise CorruptError(f"file {record.path!r}: tensor {segment} of {len(index.tensors)}")


def _check_folder(folder: FolderRecord | None) -> None:
    if folder is None:
        return
    check_paths([record.path for record in folder.archives])
    check_paths([*(record.path for record in folder.side_files), *folder.empty_folders])
    for record in folder.archives:
        if not record.path.endswith(limits.ARCHIVE_SUFFIX):
            raise CorruptError(f"archive file {record.path!r} does not end in {limits.ARCHIVE_SUFFIX}")
    for side in folder.side_files:
        if side.content is not None and len(side.content) != side.n_bytes:
            raise CorruptError(f"side file {side.path!r}: {len(side.content)} bytes kept of {side.n_bytes}")


def _check_base(base: BaseRecord | None) -> None:
    if base is not None and (base.hint.startswith(("/", "\\")) or "\0" in base.hint):
        raise CorruptError(f"path of the base {base.hint!r:.200}; needs a relative one")


def check_paths(paths: Iterable[str]) -> None:
    """Raise CorruptError unless all paths are relative, stay inside their folder, and differ."""
    seen: set[str] = set()
    for path in paths:
        parts = path.split("/")
        if "\0" in path or any(part in ("", ".", "..") for part in parts):
            raise CorruptError(f"path {path!r} is absolute, empty or has a part '', '.' or '..'")
        if path in seen:
            raise CorruptError(f"path {path!r} appears twice")
        seen.add(path)
