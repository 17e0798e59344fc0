"""Taking archive files apart and putting them together again with other content and right checksums."""

from __future__ import annotations

import json
import struct
from dataclasses import dataclass
from typing import Any

import msgspec
import zstandard

from tersor.archive.crc import crc32c
from tersor.archive.file import ArchiveFile
from tersor.archive.reader import Archive

PREFIX = struct.Struct("<6sBBIII")


class BytesRanges:
    """An archive file in memory."""

    is_remote = False

    def __init__(self, data: bytes, name: str = "model.tersor.safetensors") -> None:
        self.name = name
        self.n_bytes = len(data)
        self.n_requests = 0
        self._data = memoryview(bytes(data))

    def read(self, begin: int, end: int) -> memoryview:
        assert 0 <= begin <= end <= self.n_bytes, (begin, end, self.n_bytes)
        self.n_requests += 1
        return self._data[begin:end]

    def release(self, begin: int, end: int) -> None:
        assert 0 <= begin <= end <= self.n_bytes, (begin, end, self.n_bytes)

    def close(self) -> None:
        pass


def open_bytes(data: bytes) -> Archive:
    """The archive file as `open_archive` would open it."""
    return Archive(None, [ArchiveFile(BytesRanges(data))])  # type: ignore[arg-type]


def contents(data: bytes) -> dict[str, tuple[str, tuple[int, ...], bytes]]:
    """Everything that a reader gives: dtype, shape and bytes of each tensor."""
    with open_bytes(data) as archive:
        return {
            name: (archive.specs[name].dtype, archive.specs[name].shape, array.tobytes())
            for name, array in archive.items()
        }


@dataclass
class Parts:
    """An archive file in pieces. header: the JSON; index: the MessagePack value; streams: all bytes after it."""

    header: dict[str, Any]
    index: Any
    streams: bytes
    version: int = 1
    reserved: int = 0
    index_length: int | None = None

    @classmethod
    def of(cls, data: bytes) -> Parts:
        n_header = 8 + int.from_bytes(data[:8], "little")
        header = json.loads(data[8:n_header])
        n_index = header["tersor.index"]["data_offsets"][1]
        frame = data[n_header + PREFIX.size : n_header + n_index]
        index = msgspec.msgpack.decode(zstandard.ZstdDecompressor().decompress(frame))
        return cls(header, index, data[n_header + n_index :])

    def join(self) -> bytes:
        """The file, with checksums and the index's place made right."""
        packed = self.index if isinstance(self.index, bytes) else msgspec.msgpack.encode(self.index)
        frame = zstandard.ZstdCompressor().compress(packed)
        n_index = PREFIX.size + len(frame)
        shift = n_index - self.header["tersor.index"]["data_offsets"][1]
        header = json.loads(json.dumps(self.header))
        for name, entry in header.items():
            if name == "tersor.index":
                entry["data_offsets"], entry["shape"] = [0, n_index], [n_index]
            elif name != "__metadata__":
                entry["data_offsets"] = [offset + shift for offset in entry["data_offsets"]]
        text = json.dumps(header, separators=(",", ":"), ensure_ascii=False).encode()
        text += b" " * (-len(text) % 8)
        front = len(text).to_bytes(8, "little") + text
        length = len(packed) if self.index_length is None else self.index_length
        prefix = PREFIX.pack(b"tersor", self.version, self.reserved, length, crc32c(frame), crc32c(front))
        return front + prefix + frame + self.streams
