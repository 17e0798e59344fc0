"""Byte ranges of one archive file. The reader asks for nothing else, so a URL can take a file's place."""

from __future__ import annotations

from pathlib import Path
from typing import Protocol

from tersor.archive.limits import HEAD_GUESS_BYTES, MAX_REQUEST_BYTES
from tersor.errors import CorruptError
from tersor.sources.mapped import MappedFile


class Ranges(Protocol):
    """A file of known size that is read in pieces."""

    name: str
    """For messages."""

    n_bytes: int

    n_requests: int
    """Calls of `read` so far; of a remote file, requests."""

    is_remote: bool
    """Whether a read costs a request."""

    def read(self, begin: int, end: int) -> memoryview:
        """Return bytes begin..end, 0 <= begin <= end <= n_bytes, read-only. May be called by several threads."""

    def release(self, begin: int, end: int) -> None:
        """Take note that bytes begin..end are not needed soon. Views of them stay valid."""

    def close(self) -> None:
        """Let go of the file. Views that were handed out stay valid."""


class MappedRanges:
    """A local file, memory-mapped. Raises UsageError if it cannot be opened."""

    is_remote = False

    def __init__(self, path: Path, name: str | None = None) -> None:
        self._file = MappedFile(path)
        self.name = str(path) if name is None else name
        self.n_bytes = self._file.n_bytes
        self.n_requests = 0

    def read(self, begin: int, end: int) -> memoryview:
        self.n_requests += 1
        return self._file.view(begin, end)

    def release(self, begin: int, end: int) -> None:
        """Let the system drop the pages, which count as this process's memory."""
        self._file.release(begin, end)

    def close(self) -> None:
        self._file.close()


class RemoteFile(Protocol):
    """A file behind a URL. Raises UsageError (not there, no byte ranges) and TransferError (network, server)."""

    def first(self, n_bytes: int) -> tuple[bytes, int]:
        """Return the first n_bytes (all of a shorter file) and the size of the file, in one request if possible."""

    def fetch(self, begin: int, end: int) -> bytes:
        """Return exactly bytes begin..end, begin < end. Memory grows with what arrives, not with what is asked for."""


class RemoteRanges:
    """A file behind a URL. Its first bytes are fetched at once and kept; no byte of them is asked for again."""

    is_remote = True

    def __init__(self, file: RemoteFile, name: str) -> None:
        self._file = file
        self.name = name
        self._front, self.n_bytes = file.first(HEAD_GUESS_BYTES)
        self.n_requests = 1

    def read(self, begin: int, end: int) -> memoryview:
        known = self._front[begin:end]
        begin += len(known)
        if begin == end:
            return memoryview(known)
        if end - begin > MAX_REQUEST_BYTES:
            raise CorruptError(
                f"{self.name}: {end - begin} bytes in one piece; at most {MAX_REQUEST_BYTES} are fetched; "
                "the file is damaged or made to deceive"
            )
        self.n_requests += 1
        fetched = self._file.fetch(begin, end)
        return memoryview(known + fetched if known else fetched)

    def release(self, begin: int, end: int) -> None:
        """Nothing is kept but the first bytes."""

    def close(self) -> None:
        """Nothing is open between requests."""
