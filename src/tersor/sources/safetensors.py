"""A safetensors file: its tensors memory-mapped, and every other byte accounted for.

`segments` covers the file from its first byte to its last, so that concatenating the header, the
gaps and the tensors' bytes gives back the file, whoever wrote it and in whatever order.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from types import MappingProxyType, TracebackType
from typing import ClassVar

import numpy as np

from tersor.sources.base import Literal, Segment, TensorBytes, no_such_tensor
from tersor.sources.header import LENGTH_BYTES, MAX_HEADER_BYTES, header_length, parse_header
from tersor.sources.mapped import MappedFile
from tersor.types import TensorSpec


class SafetensorsFile:
    """The tensors of a .safetensors file.

    header: the 8-byte length and the JSON as they stand in the file.
    metadata: the `__metadata__` object, {} if absent.
    specs: tensors in data order.
    extents: name -> (begin, end), absolute file offsets; no two overlap.
    gaps: (begin, end) of bytes after the header that no tensor owns; the official writer leaves none.
    """

    kind: ClassVar[str] = "safetensors"
    exact: ClassVar[bool] = True

    def __init__(self, path: Path | str) -> None:
        self.path = Path(path)
        self._file = MappedFile(self.path)
        n_bytes = self._file.n_bytes
        length = header_length(bytes(self._file.view(0, LENGTH_BYTES)), n_bytes, str(self.path))
        data_start = LENGTH_BYTES + length
        self.header = bytes(self._file.view(0, data_start))
        parsed = parse_header(self.header[LENGTH_BYTES:], n_bytes - data_start, str(self.path))
        self.metadata = parsed.metadata
        self.specs: tuple[TensorSpec, ...] = parsed.specs
        self.extents = {
            spec.name: (data_start + begin, data_start + end)
            for spec, (begin, end) in zip(parsed.specs, parsed.offsets, strict=True)
        }
        self.aliases: Mapping[str, str] = MappingProxyType({})
        self._spec_of = {spec.name: spec for spec in self.specs}
        self.n_bytes = n_bytes

    @classmethod
    def matches(cls, path: Path, head: bytes, n_bytes: int) -> bool:
        """By the suffix, or by a plausible header length followed by an opening brace."""
        length = int.from_bytes(head[:LENGTH_BYTES], "little")
        plausible = 2 <= length <= min(MAX_HEADER_BYTES, n_bytes - LENGTH_BYTES)
        return path.suffix == ".safetensors" or (plausible and head[LENGTH_BYTES : LENGTH_BYTES + 1] == b"{")

    @property
    def gaps(self) -> tuple[tuple[int, int], ...]:
        literals = [part for part in self.segments() if isinstance(part, Literal)]
        return tuple((part.begin, part.end) for part in literals[1:])

    def segments(self) -> list[Segment]:
        """Return the file's parts in file order: the header, then tensors and gaps, to the last byte."""
        parts: list[Segment] = [Literal(0, len(self.header))]
        position = len(self.header)
        for name, (begin, end) in self.extents.items():
            if position < begin:
                parts.append(Literal(position, begin))
            parts.append(TensorBytes(name))
            position = end
        if position < self.n_bytes:
            parts.append(Literal(position, self.n_bytes))
        return parts

    def segment_bytes(self, segment: Segment) -> memoryview:
        """Return the bytes of a segment of `segments`, read-only, memory-mapped."""
        if isinstance(segment, TensorBytes):
            return self.raw(segment.name)
        return self._file.view(segment.begin, segment.end)

    def spec(self, name: str) -> TensorSpec:
        """Return the spec of a tensor. Raises UnknownNameError naming the nearest."""
        if name not in self._spec_of:
            raise no_such_tensor(self.path, name, self._spec_of)
        return self._spec_of[name]

    def read(self, name: str) -> np.ndarray:
        """Return the tensor, read-only: a view of the map, or a copy if the file stores it unaligned."""
        spec = self.spec(name)
        begin, end = self.extents[name]
        array = self._file.data[begin:end].view(spec.numpy_dtype).reshape(spec.numpy_shape)
        if not array.flags.aligned:
            array = array.copy()
            array.flags.writeable = False
        return array

    def raw(self, name: str) -> memoryview:
        """Return the tensor's bytes as they stand in the file, read-only, memory-mapped."""
        self.spec(name)
        return self._file.view(*self.extents[name])

    def release(self, name: str) -> None:
        """Let the system drop the tensor's pages; arrays that were handed out stay valid."""
        self.spec(name)
        self._file.release(*self.extents[name])

    def close(self) -> None:
        """Forget the file. Arrays that were handed out stay valid."""
        self._file.close()

    def __enter__(self) -> SafetensorsFile:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()
