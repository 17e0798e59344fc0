"""Sums that may be larger than memory."""

from __future__ import annotations

import threading
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch

from tersor.errors import CorruptError
from tersor.npy import read_npy


class MatrixSums:
    """Square float32 sums by key: the first ones in memory, the rest in files that are read and written per update.

    folder: where the files go. memory_bytes: what the ones in memory may take together.
    An update of (n, n) costs 2 n^2 multiplications per token and moves 8 n^2 bytes; with a thousand tokens per update
    the files cost a few percent.
    Thread safe as long as two threads do not update the same key at once.
    """

    def __init__(self, folder: Path, memory_bytes: int) -> None:
        self._folder = folder
        self._free = memory_bytes
        self._lock = threading.Lock()
        self._resident: dict[str, torch.Tensor] = {}
        self._sizes: dict[str, int] = {}

    def update(self, key: str, size: int, change: Callable[[torch.Tensor], object]) -> None:
        """Let `change` alter the sum of `key` in place; it starts as (size, size) zeros."""
        with self._lock:
            is_new = key not in self._sizes
            self._sizes[key] = size
            if is_new and 4 * size * size <= self._free:
                self._free -= 4 * size * size
                self._resident[key] = torch.zeros(size, size)
        if key in self._resident:
            change(self._resident[key])
            return
        matrix = torch.zeros(size, size) if is_new else self._read(key)
        change(matrix)
        matrix.numpy().tofile(self._path(key))

    def take(self, key: str) -> np.ndarray | None:
        """The sum of `key`, which is then forgotten; None if it was never updated."""
        with self._lock:
            if self._sizes.get(key) is None:
                return None
            if key in self._resident:
                matrix = self._resident.pop(key).numpy()
                self._free += matrix.nbytes
            else:
                matrix = self._read(key).numpy()
                self._path(key).unlink()
            del self._sizes[key]
        return matrix

    def save(self, folder: Path) -> None:
        """Write all sums into a folder."""
        for key in self._sizes:
            matrix = self._resident[key] if key in self._resident else self._read(key)
            np.save(folder / f"{key}.npy", matrix.numpy())

    def restore(self, folder: Path) -> None:
        """Take the sums that `save` wrote, in place of those there are."""
        for key in list(self._sizes):
            self.take(key)
        for path in sorted(folder.glob("*.npy")):
            matrix = torch.from_numpy(read_npy(path))
            self.update(path.stem, len(matrix), lambda total, matrix=matrix: total.copy_(matrix))  # type: ignore[misc]

    def _read(self, key: str) -> torch.Tensor:
        # Into torch's memory: its alignment is that of the sums in memory, so products come out the same.
        matrix = torch.empty(self._sizes[key], self._sizes[key])
        rest = matrix.numpy().reshape(-1).view(np.uint8).data
        with self._path(key).open("rb", buffering=0) as file:
            while count := file.readinto(rest):  # Linux reads 0x7FFFF000 bytes at most at once
                rest = rest[count:]
        n_read = matrix.nbytes - len(rest)
        if n_read != matrix.nbytes:
            raise CorruptError(
                f"{self._path(key)}: {n_read} bytes of a sum of {matrix.nbytes}; was the disk full? Calibrate again"
            )
        return matrix

    def _path(self, key: str) -> Path:
        return self._folder / f"sum-{key}.bin"
