"""The archive file around its streams: sections 2 and 3 of docs/format.md."""

import json
import re
from dataclasses import dataclass
from typing import Any

from . import msgpack, zstd
from .context import FileContext
from .crc32c import crc32c
from .cursor import Cursor
from .errors import FormatError, UnsupportedError, require
from .tables import TableSets

INDEX_NAME = "tersor.index"
METADATA = {"format": "pt", "tersor": "1"}
MAGIC = b"tersor"
VERSION = 1
MAX_INDEX_BYTES = 1 << 28
INDEX_BYTES_FREE, INDEX_BYTES_PER_STORED_BYTE = 1 << 24, 64
N_INDEX_ELEMENTS = 8
MAX_NAMES, MAX_TENSORS, MAX_PATHS = 1 << 8, 1 << 22, 1 << 20
JSON_STRING = re.compile(rb'"(?:[^"\\]|\\.)*"')


@dataclass(frozen=True)
class Stream:
    """A member of the safetensors header and its bytes."""

    name: str
    shape: list[int]
    data: bytes


@dataclass(frozen=True)
class Container:
    """An opened archive file: its streams (without the index) and the elements of its index."""

    streams: list[Stream]
    index_crc: int
    producer: str
    layouts: list[str]
    context: FileContext
    tensors: list[Any]
    files: list[Any]
    provenance: dict[str, Any]
    folder: Any
    base: Any


def read_container(data: bytes, what: str) -> Container:
    """Open the bytes of one archive file."""
    streams, front = _read_streams(Cursor(data, what))
    index, index_crc = _read_index(streams[0].data, front, what)
    return _parse_index(index, streams[1:], index_crc, what)


def _read_streams(cursor: Cursor) -> tuple[list[Stream], bytes]:
    """All streams in order, and everything in front of the data."""
    n_header = cursor.u64()
    require(n_header % 8 == 0, f"{cursor.what}: header of {n_header} bytes, a multiple of 8 needed")
    header = _parse_header(cursor.take(n_header), cursor.what)
    front = cursor.data[: cursor.position]
    streams = [_take_stream(cursor, name, entry, len(front)) for name, entry in header]
    cursor.finish()
    return streams, front


def _parse_header(text: bytes, what: str) -> list[tuple[str, Any]]:
    """The members of the header behind `__metadata__`, in order."""
    try:
        members = json.loads(text.decode("utf-8"), object_pairs_hook=_Members)
        "".join(name for name, _ in members).encode()  # half a surrogate pair is no Unicode string
    except (ValueError, RecursionError, TypeError) as exc:
        raise FormatError(f"{what}: the header is not UTF-8 JSON: {exc}") from exc
    require(isinstance(members, _Members), f"{what}: the header is not an object")
    between_strings = JSON_STRING.sub(b"", text.rstrip(b" "))
    require(len(between_strings.split()) == 1 and text.startswith(b"{"), f"{what}: white space in the header")
    names = [name for name, _ in members]
    require(len(set(names)) == len(names), f"{what}: a name appears twice in the header")
    require(names[:2] == ["__metadata__", INDEX_NAME], f"{what}: the header starts with {names[:2]}")
    metadata = members[0][1]
    require(isinstance(metadata, _Members) and dict(metadata) == METADATA, f"{what}: metadata {metadata!r}")
    return list(members[1:])


class _Members(list):  # type: ignore[type-arg]
    """The (name, value) pairs of a JSON object in their order."""


def _take_stream(cursor: Cursor, name: str, entry: Any, n_front: int) -> Stream:
    what = f"{cursor.what}: stream {name!r}"
    require(isinstance(entry, _Members), f"{what}: header entry is not an object")
    require(
        [key for key, _ in entry] == ["dtype", "shape", "data_offsets"], f"{what}: header entry {entry!r}"
    )
    dtype, shape, offsets = (value for _, value in entry)
    require(dtype == "U8", f"{what}: dtype {dtype!r}, U8 needed")
    require(
        _are_sizes(shape) and _are_sizes(offsets) and len(offsets) == 2, f"{what}: header entry {entry!r}"
    )
    begin, end = offsets
    require(begin == cursor.position - n_front, f"{what}: begins at {begin}, the one before ends elsewhere")
    require(end >= begin, f"{what}: ends before it begins")
    require(shape in ([end - begin], [1, end - begin]), f"{what}: shape {shape} of {end - begin} bytes")
    return Stream(name, shape, cursor.take(end - begin))


def _are_sizes(values: Any) -> bool:
    return isinstance(values, list) and all(type(value) is int and value >= 0 for value in values)


def _read_index(stream: bytes, front: bytes, what: str) -> tuple[Any, int]:
    """The decoded index, and the CRC of its zstd frame."""
    cursor = Cursor(stream, f"{what}: {INDEX_NAME}")
    magic = cursor.take(6)
    require(magic == MAGIC, f"{cursor.what}: starts with {magic!r}, {MAGIC!r} needed")
    version, zero = cursor.u8(), cursor.u8()
    if version > VERSION:
        raise UnsupportedError(f"{cursor.what}: format version {version}, this reader knows {VERSION}")
    require(version == VERSION, f"{cursor.what}: format version {version}")
    require(zero == 0, f"{cursor.what}: byte 7 is {zero}, 0 needed")
    n_index, index_crc, front_crc = cursor.u32(), cursor.u32(), cursor.u32()
    require(n_index <= MAX_INDEX_BYTES, f"{cursor.what}: index of {n_index} bytes")
    require(crc32c(front) == front_crc, f"{what}: the checksum of the header is wrong")
    frame = cursor.rest()
    limit = INDEX_BYTES_FREE + INDEX_BYTES_PER_STORED_BYTE * len(frame)
    require(n_index <= limit, f"{cursor.what}: index of {n_index} bytes in a frame of {len(frame)}")
    require(crc32c(frame) == index_crc, f"{cursor.what}: the checksum of the index is wrong")
    return msgpack.unpack(zstd.decompress(frame, n_index)), index_crc


def _parse_index(index: Any, streams: list[Stream], index_crc: int, what: str) -> Container:
    is_complete = isinstance(index, list) and len(index) >= N_INDEX_ELEMENTS
    require(is_complete, f"{what}: the index is not an array of {N_INDEX_ELEMENTS}")
    producer, layouts, codecs, table_sets, tensors, files, provenance, folder = index[:N_INDEX_ELEMENTS]
    require(isinstance(producer, str), f"{what}: producer is not a str")
    for names in (layouts, codecs):
        is_named = isinstance(names, list) and all(isinstance(name, str) for name in names)
        require(is_named, f"{what}: names {names!r}")
    require(isinstance(tensors, list) and isinstance(files, list), f"{what}: tensors or files are no array")
    require(isinstance(provenance, dict) and _is_plain(provenance), f"{what}: provenance {provenance!r}")
    require(isinstance(table_sets, list), f"{what}: table_sets is no array")
    for part, most in (
        (layouts, MAX_NAMES),
        (codecs, MAX_NAMES),
        (table_sets, MAX_NAMES),
        (tensors, MAX_TENSORS),
        (files, MAX_PATHS),
    ):
        require(len(part) <= most, f"{what}: an array of {len(part)}, at most {most}")
    require(len(tensors) == len(streams), f"{what}: {len(tensors)} tensors for {len(streams)} streams")
    context = FileContext(codecs, TableSets(table_sets))
    base = index[N_INDEX_ELEMENTS] if len(index) > N_INDEX_ELEMENTS else None
    return Container(streams, index_crc, producer, layouts, context, tensors, files, provenance, folder, base)


def _is_plain(value: Any) -> bool:
    """Whether a value consists of strings, numbers, booleans, nil, arrays and maps."""
    if isinstance(value, dict):
        return all(isinstance(key, str) and _is_plain(item) for key, item in value.items())
    if isinstance(value, list):
        return all(_is_plain(item) for item in value)
    return value is None or isinstance(value, str | int | float)
