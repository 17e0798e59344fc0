"""A safetensors file: its tensors memory-mapped, and every other byte accounted for.

`segments` covers the file from its first byte to its last, so that concatenating the header, the
gaps and the tensors' bytes gives back the file, whoever wrote it and in whatever order.
"""

from __future__ import annotations

from pathlib import Path
from typing import ClassVar

from tersor.sources.base import Literal
from tersor.sources.extents import Contents, ExtentFile, Place
from tersor.sources.header import LENGTH_BYTES, MAX_HEADER_BYTES, header_length, parse_header


class SafetensorsFile(ExtentFile):
    """The tensors of a .safetensors file.

    header: the 8-byte length and the JSON as they stand in the file.
    metadata: the `__metadata__` object, {} if absent.
    specs: tensors in data order.
    gaps: (begin, end) of bytes after the header that are no tensor's; the official writer leaves none.
    """

    kind: ClassVar[str] = "safetensors"

    @classmethod
    def matches(cls, path: Path, head: bytes, n_bytes: int) -> bool:
        """By the suffix, or by a plausible header length followed by an opening brace."""
        length = int.from_bytes(head[:LENGTH_BYTES], "little")
        plausible = 2 <= length <= min(MAX_HEADER_BYTES, n_bytes - LENGTH_BYTES)
        return path.suffix == ".safetensors" or (plausible and head[LENGTH_BYTES : LENGTH_BYTES + 1] == b"{")

    def locate(self, data: memoryview) -> Contents:
        """Read the header; return where it says that the tensors lie."""
        length = header_length(bytes(data[:LENGTH_BYTES]), len(data), str(self.path))
        data_start = LENGTH_BYTES + length
        self.header = bytes(data[:data_start])
        parsed = parse_header(self.header[LENGTH_BYTES:], len(data) - data_start, str(self.path))
        self.metadata = parsed.metadata
        places = [
            Place(spec, data_start + begin, data_start + end)
            for spec, (begin, end) in zip(parsed.specs, parsed.offsets, strict=True)
        ]
        return Contents(places, n_head_bytes=data_start)

    @property
    def gaps(self) -> tuple[tuple[int, int], ...]:
        literals = [part for part in self.segments() if isinstance(part, Literal)]
        return tuple((part.begin, part.end) for part in literals[1:])
