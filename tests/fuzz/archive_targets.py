"""Targets of the archive's own structure: header, index, lists of lengths, and a file whose checksums are right."""

from __future__ import annotations

import json
import struct
import tempfile
from pathlib import Path
from typing import Any

import msgspec
import zstandard

from archives import every_dtype, small_lossy, write_archive
from damage import PREFIX, Parts, open_bytes
from fuzz.target import Target
from tersor.archive.blocks import block_table
from tersor.archive.crc import crc32c
from tersor.archive.header import decode_header, locate_index
from tersor.archive.index import decode_index, spec_of, unpack_any
from tersor.archive.restore import file_bytes
from tersor.archive.varint import decode_varints, encode_varints
from tersor.errors import CorruptError
from tersor.layouts.base import matrix_shape

MAX_TENSOR_BYTES = 1 << 22  # larger tensors are read in part: a legal file may hold much in little
_COUNT = struct.Struct("<H")
_LENGTHS = struct.Struct("<HH")


def archive_files() -> list[bytes]:
    """A compressed and a packed archive file of a few KB each."""
    with tempfile.TemporaryDirectory() as folder:
        for name, tensors in (("lossy", small_lossy()), ("dtypes", every_dtype())):
            write_archive(Path(folder) / name, tensors)
        return [(Path(folder) / name).read_bytes() for name in ("lossy", "dtypes")]


def parse_header(data: bytes) -> None:
    """Input: the head of a file; the header as text must be refused or give streams without gaps."""
    n_header, n_index = locate_index(memoryview(data), len(data), "fuzz")
    assert 0 < n_header <= n_header + n_index <= len(data)
    n_data = len(data) - n_header
    streams = decode_header(data[8:n_header], n_data, "fuzz")
    assert [stream.begin for stream in streams] == [n_index, *(stream.end for stream in streams)][
        : len(streams)
    ]
    assert (streams[-1].end if streams else n_index) == n_data


def parse_varints(data: bytes) -> None:
    """Input: u16 number of values, then the list."""
    (count,) = _COUNT.unpack_from(data.ljust(2, b"\0"))
    values = decode_varints(data[2:], count, "fuzz").tolist()
    assert encode_varints(values) == data[2:], "only the shortest form is taken"


def varint_seeds() -> list[bytes]:
    lists = ([], [0], [127, 128, 1 << 55], list(range(200)), [1 << 20] * 70)
    return [_COUNT.pack(len(values)) + encode_varints(values) for values in lists]


def parse_index(data: bytes) -> None:
    """Input: u16 number of streams, then the MessagePack value; zstd and checksums around it are made right."""
    (n_streams,) = _COUNT.unpack_from(data.ljust(2, b"\0"))
    packed = data[2:]
    frame = zstandard.ZstdCompressor().compress(packed)
    prefix = PREFIX.pack(b"tersor", 1, 0, len(packed), crc32c(frame), 0)
    _, index = decode_index(memoryview(prefix + frame), n_streams, "fuzz")
    failures: list[CorruptError] = []
    for record in index.tensors:
        try:
            spec = spec_of("fuzz", record)
            unpack_any(record.meta, "fuzz")
            block_table(record, matrix_shape(spec), len(packed))
        except CorruptError as exc:
            failures.append(exc)
    index.provenance_dict()


def index_seeds() -> list[bytes]:
    indices = (Parts.of(data).index for data in archive_files())
    return [_COUNT.pack(len(index[4])) + msgspec.msgpack.encode(index) for index in indices]


def _join(data: bytes) -> bytes:
    """A file from its parts: u16 lengths of the header's JSON and of the index, these, the streams."""
    n_header, n_index = _LENGTHS.unpack_from(data.ljust(4, b"\0"))
    parts = data[4 : 4 + n_header], data[4 + n_header : 4 + n_header + n_index]
    streams = data[4 + n_header + n_index :]
    try:
        return Parts(json.loads(parts[0]), parts[1], streams).join()
    except (ValueError, KeyError, TypeError, AttributeError, IndexError, RecursionError):
        # No header that can be mended: as it stands.
        return len(parts[0]).to_bytes(8, "little") + parts[0] + parts[1] + streams


def _take_apart(data: bytes) -> bytes:
    parts = Parts.of(data)
    header, index = json.dumps(parts.header).encode(), msgspec.msgpack.encode(parts.index)
    return _LENGTHS.pack(len(header), len(index)) + header + index + parts.streams


def parse_archive(data: bytes) -> None:
    """Input: see `_join`. Every tensor and file is decoded, however much the checksums of blocks are off."""
    with open_bytes(_join(data)) as archive:
        (file,) = archive.files
        failures: list[Exception] = []
        for name, spec in archive.specs.items():
            try:
                _read(archive, name, spec.n_bytes)
            except CorruptError as exc:
                failures.append(exc)
        for record in file.index.files:
            b"".join(file_bytes(file, record))
        if failures:
            raise failures[0]


def _read(archive: Any, name: str, n_bytes: int) -> None:
    if n_bytes <= MAX_TENSOR_BYTES:
        archive.read(name)
    elif archive.specs[name].shape:
        archive.read(name, rows=slice(0, 1))


TARGETS = (
    Target("archive", parse_archive, lambda: [_take_apart(data) for data in archive_files()]),
    Target("archive_header", parse_header, archive_files),
    Target("archive_index", parse_index, index_seeds),
    Target("archive_varints", parse_varints, varint_seeds),
)
