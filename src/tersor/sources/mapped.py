"""A whole file as a read-only array of bytes, memory-mapped."""

from __future__ import annotations

import mmap
import os
import stat
from pathlib import Path

import numpy as np

from tersor.errors import UsageError


def explain_open_error(path: Path, error: OSError) -> UsageError:
    """Return the error to raise when an input cannot be opened."""
    return UsageError(
        f"{path}: cannot be read: {error.strerror or error}; check the path and its permissions"
    )


def file_size(path: Path) -> int:
    """Return the size of a regular file. Raises UsageError for anything else: a pipe would block."""
    try:
        status = path.stat()
    except OSError as exc:
        raise explain_open_error(path, exc) from exc
    if not stat.S_ISREG(status.st_mode):
        raise UsageError(f"{path}: cannot be read: it is no regular file; give the path of a file")
    return status.st_size


def read_head(path: Path, n_bytes: int = 64) -> bytes:
    """Return the first bytes of a file, fewer if it is shorter. Raises UsageError as `file_size` does."""
    file_size(path)
    try:
        with open(path, "rb") as file:
            return file.read(n_bytes)
    except OSError as exc:
        raise explain_open_error(path, exc) from exc


class MappedFile:
    """The bytes of a file, paged in when touched.

    data: uint8 (n_bytes,), read-only; keeps the mapping alive for as long as any view of it lives.
    Like every memory map, it shows later changes of the file and faults if the file shrinks meanwhile.
    Raises: UsageError if the path is no readable regular file.
    """

    def __init__(self, path: Path) -> None:
        self._map: mmap.mmap | None = None
        self.data = np.zeros(0, np.uint8)
        file_size(path)
        try:
            with open(path, "rb") as file:
                if os.fstat(file.fileno()).st_size:  # an empty file cannot be mapped
                    self._map = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)
        except OSError as exc:
            raise explain_open_error(path, exc) from exc
        if self._map is not None:
            self.data = np.frombuffer(self._map, np.uint8)
        self.data.flags.writeable = False

    @property
    def n_bytes(self) -> int:
        return int(self.data.size)

    def view(self, begin: int, end: int) -> memoryview:
        """Return bytes begin..end as a read-only memoryview."""
        return self.data[begin:end].data

    def release(self, begin: int, end: int) -> None:
        """Let the system drop the pages that lie wholly inside begin..end; they are read again on use."""
        first = -(-begin // mmap.PAGESIZE) * mmap.PAGESIZE
        last = end // mmap.PAGESIZE * mmap.PAGESIZE
        if self._map is not None and first < last:
            self._map.madvise(mmap.MADV_DONTNEED, first, last - first)

    def close(self) -> None:
        """Forget the mapping; it goes away with the last array that views it."""
        self._map = None
        self.data = np.zeros(0, np.uint8)
