"""The safetensors header of an archive file (docs/format.md 2): written in one fixed order, read strictly."""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from dataclasses import dataclass

from tersor.archive.limits import ALIGNMENT, INDEX_NAME
from tersor.errors import CorruptError, NewerFormatError, UsageError
from tersor.sources.header import LENGTH_BYTES, MAX_HEADER_BYTES, header_length, parse_header

METADATA = '"__metadata__":{"format":"pt","tersor":"1"}'
_INDEX_ENTRY = re.compile(
    rb'\{"__metadata__":\{[^{}]*\},"tersor\.index":\{"dtype":"U8","shape":\[\d+\],"data_offsets":\[0,(\d{1,9})\]\}'
)


@dataclass(frozen=True, slots=True)
class Stream:
    """One stream's name and place, relative to the start of the data."""

    name: str
    begin: int
    end: int


def stream_shape(n_bytes: int, tensor_shape: Sequence[int]) -> tuple[int, ...]:
    """Return the shape a stream is stored with: never that of its tensor, so that no loader mistakes it."""
    return (1, n_bytes) if tuple(tensor_shape) == (n_bytes,) else (n_bytes,)


def encode_header(n_index_bytes: int, streams: Sequence[tuple[str, Sequence[int], int]]) -> bytes:
    """Return the length and the padded JSON.

    n_index_bytes: bytes of the stream `tersor.index`.
    streams: (name, shape of the tensor, bytes of the stream) in data order.
    Raises: UsageError if a name is reserved, appears twice or the header passes safetensors' own limit.
    """
    members = [METADATA, _entry(INDEX_NAME, (n_index_bytes,), 0, n_index_bytes)]
    position = n_index_bytes
    seen = {INDEX_NAME, "__metadata__"}
    for name, tensor_shape, n_bytes in streams:
        if name in seen:
            raise UsageError(
                f"tensor name {name!r} is reserved or appears twice in one archive file; rename it"
            )
        seen.add(name)
        members.append(_entry(name, stream_shape(n_bytes, tensor_shape), position, position + n_bytes))
        position += n_bytes
    text = ("{" + ",".join(members) + "}").encode("utf-8")
    text += b" " * (-len(text) % ALIGNMENT)
    if len(text) > MAX_HEADER_BYTES:
        raise UsageError(
            f"the header would take {len(text)} bytes, safetensors allows {MAX_HEADER_BYTES}; use more shards"
        )
    return len(text).to_bytes(LENGTH_BYTES, "little") + text


def _entry(name: str, shape: tuple[int, ...], begin: int, end: int) -> str:
    key = json.dumps(name, ensure_ascii=False)
    return f'{key}:{{"dtype":"U8","shape":[{",".join(map(str, shape))}],"data_offsets":[{begin},{end}]}}'


def locate_index(head: memoryview, n_file_bytes: int, where: str) -> tuple[int, int]:
    """Return (bytes of length and header, bytes of the stream `tersor.index`) from the first bytes of a file.

    Raises: CorruptError if it is no archive file, or either does not fit into the file.
    """
    n_header = LENGTH_BYTES + header_length(bytes(head[:LENGTH_BYTES]), n_file_bytes, where)
    match = _INDEX_ENTRY.match(bytes(head[LENGTH_BYTES:n_header]))
    if match is None:
        raise CorruptError(
            f"{where}: is no tersor archive file: its header does not start with {METADATA} and {INDEX_NAME!r}; "
            "give a file that `tersor pack` or `tersor compress` wrote"
        )
    n_index = int(match[1])
    if n_header % ALIGNMENT or n_header + n_index > n_file_bytes:
        raise CorruptError(
            f"{where}: header of {n_header} bytes (needs a multiple of {ALIGNMENT}) and index of {n_index} bytes "
            f"in a file of {n_file_bytes}; the file is truncated or damaged, fetch it again"
        )
    return n_header, n_index


def decode_header(text: bytes, n_data_bytes: int, where: str) -> list[Stream]:
    """Return the streams after `tersor.index`, in order.

    text: the JSON with its padding.
    Guarantee: the streams and the index fill the data without gaps or overlaps; every stream is U8, (n,) or (1, n).
    Raises: CorruptError, NewerFormatError.
    """
    header = parse_header(text, n_data_bytes, where)
    version = header.metadata.get("tersor")
    if version != "1":
        raise NewerFormatError(
            f"{where}: header says tersor {version!r}, this tersor reads '1'; upgrade tersor"
        )
    position = 0
    for spec, (begin, end) in zip(header.specs, header.offsets, strict=True):
        if spec.dtype != "U8" or spec.shape not in ((end - begin,), (1, end - begin)):
            raise CorruptError(
                f"{where}: stream {spec.name!r} is {spec.dtype} {list(spec.shape)}, "
                f"needs U8 [{end - begin}] or [1, {end - begin}]"
            )
        if begin != position:
            raise CorruptError(f"{where}: stream {spec.name!r} begins at {begin}, needs {position}")
        position = end
    if position != n_data_bytes:
        raise CorruptError(
            f"{where}: the header describes {position} bytes of data, the file has {n_data_bytes}; "
            "it is truncated or has bytes added, fetch it again"
        )
    names = [spec.name for spec in header.specs]
    if names[:1] != [INDEX_NAME]:
        raise CorruptError(f"{where}: {INDEX_NAME!r} is not the first stream")
    return [
        Stream(name, begin, end) for name, (begin, end) in zip(names[1:], header.offsets[1:], strict=True)
    ]
