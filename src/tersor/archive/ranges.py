"""Byte ranges of one archive file. The reader asks for nothing else, so a URL can take a file's place."""

from __future__ import annotations

from pathlib import Path
from typing import Protocol

from tersor.sources.mapped import MappedFile


class Ranges(Protocol):
    """A file of known size that is read in pieces."""

    name: str
    """For messages."""

    n_bytes: int

    n_requests: int
    """Calls of `read` so far."""

    def read(self, begin: int, end: int) -> memoryview:
        """Return bytes begin..end, 0 <= begin <= end <= n_bytes, read-only. May be called by several threads."""

    def close(self) -> None:
        """Let go of the file. Views that were handed out stay valid."""


class MappedRanges:
    """A local file, memory-mapped. Raises UsageError if it cannot be opened."""

    def __init__(self, path: Path, name: str | None = None) -> None:
        self._file = MappedFile(path)
        self.name = str(path) if name is None else name
        self.n_bytes = self._file.n_bytes
        self.n_requests = 0

    def read(self, begin: int, end: int) -> memoryview:
        self.n_requests += 1
        return self._file.view(begin, end)

    def close(self) -> None:
        self._file.close()
