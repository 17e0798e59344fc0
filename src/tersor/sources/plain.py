"""Any file at all: one U8 tensor, named by the file's name."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from types import MappingProxyType, TracebackType
from typing import ClassVar

import numpy as np

from tersor.sources.base import Segment, TensorBytes, no_such_tensor
from tersor.sources.mapped import MappedFile
from tersor.types import TensorSpec


class PlainFile:
    """The bytes of a file as one tensor of dtype U8 and shape (n_bytes,), memory-mapped."""

    kind: ClassVar[str] = "plain"
    exact: ClassVar[bool] = True

    def __init__(self, path: Path | str) -> None:
        self.path = Path(path)
        self._file = MappedFile(self.path)
        self.n_bytes = self._file.n_bytes
        self.specs: tuple[TensorSpec, ...] = (TensorSpec(self.path.name, "U8", (self.n_bytes,)),)
        self.aliases: Mapping[str, str] = MappingProxyType({})

    @classmethod
    def matches(cls, path: Path, head: bytes, n_bytes: int) -> bool:
        """Every file."""
        return True

    def _check(self, name: str) -> None:
        if name != self.path.name:
            raise no_such_tensor(self.path, name, [self.path.name])

    def segments(self) -> list[Segment]:
        """Return the one tensor, which is the whole file."""
        return [TensorBytes(self.path.name)]

    def segment_bytes(self, segment: Segment) -> memoryview:
        """Return the bytes of a segment of `segments`, read-only, memory-mapped."""
        if isinstance(segment, TensorBytes):
            return self.raw(segment.name)
        return self._file.view(segment.begin, segment.end)

    def read(self, name: str) -> np.ndarray:
        """Return the file's bytes: uint8 (n_bytes,), read-only, memory-mapped."""
        self._check(name)
        return self._file.data

    def raw(self, name: str) -> memoryview:
        """Return the file's bytes, read-only, memory-mapped."""
        self._check(name)
        return self._file.view(0, self.n_bytes)

    def release(self, name: str) -> None:
        """Let the system drop the file's pages; arrays that were handed out stay valid."""
        self._check(name)
        self._file.release(0, self.n_bytes)

    def close(self) -> None:
        """Forget the file. Arrays that were handed out stay valid."""
        self._file.close()

    def __enter__(self) -> PlainFile:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()
