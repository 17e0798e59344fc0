"""The base of an archive of deltas: a checkpoint or an archive whose tensors are known by name and by hash."""

from __future__ import annotations

import struct
from collections.abc import Mapping
from pathlib import Path
from typing import Protocol

import numpy as np
from blake3 import blake3

from tersor.archive import limits
from tersor.archive.reader import Archive, open_archive
from tersor.archive.tensor import as_bytes
from tersor.errors import UsageError
from tersor.layouts.base import matrix_shape
from tersor.sources import open_exact
from tersor.sources.base import Source
from tersor.sources.folder import scan
from tersor.sources.weights import select
from tersor.types import TensorSpec

DIGEST_BYTES = limits.MIN_DIGEST_BYTES


class BaseModel(Protocol):
    """Tensors that others are stored against. Several threads may read."""

    path: Path
    specs: Mapping[str, TensorSpec]

    def digest(self, name: str) -> bytes:
        """Return the first 16 bytes of the BLAKE3 hash of a tensor's bytes."""

    def rectangle(self, name: str, row: int, column: int, shape: tuple[int, int]) -> np.ndarray:
        """Return a part of the tensor's matrix, C-contiguous; may be read-only."""

    def array(self, name: str) -> np.ndarray:
        """Return a whole tensor, of the spec's numpy_shape; may be read-only."""

    def release(self, name: str) -> None:
        """Let the system drop the tensor's pages."""

    def close(self) -> None:
        """Let go of the files."""


def open_base_model(path: Path) -> BaseModel:
    """Return the tensors of a checkpoint (folder or file), or of an archive that needs no base itself.

    Of a folder, the files that a loader of models would take. Raises: UsageError, CorruptError, NewerFormatError.
    """
    if not path.exists():
        raise UsageError(f"{path}: no such file or folder; give the path of the base model")
    return _ArchiveModel(path) if _is_archive(path) else _PlainModel(path)


def identity(model: BaseModel) -> bytes:
    """Return the content hash of a base, the same for a checkpoint and for its archive (docs/format.md 3.6).

    Hashes every tensor of a checkpoint; of an archive it takes the hashes of the index.
    """
    whole = blake3()
    for name in sorted(model.specs, key=lambda name: name.encode()):
        encoded = name.encode()
        whole.update(struct.pack("<I", len(encoded)) + encoded + model.digest(name))
    return whole.digest()


def _is_archive(path: Path) -> bool:
    if path.is_file():
        return path.name.endswith(limits.ARCHIVE_SUFFIX)
    return any(path.glob(f"*{limits.ARCHIVE_SUFFIX}")) or any(path.rglob(f"*{limits.ARCHIVE_SUFFIX}"))


class _PlainModel:
    """The weights of a checkpoint, memory-mapped. Files are read as `pack` reads them, torch files without torch."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._homes: dict[str, Source] = {}
        self._sources: list[Source] = []
        self._digests: dict[tuple[Path, str], bytes] = {}
        specs: dict[str, TensorSpec] = {}
        checkpoint = scan(path)
        files = checkpoint.files if checkpoint.is_single_file else select(checkpoint)[0]
        for entry in files:
            source = open_exact(entry.path)
            self._sources.append(source)
            for spec in source.specs:
                if spec.name not in specs:
                    specs[spec.name], self._homes[spec.name] = spec, source
        self.specs: Mapping[str, TensorSpec] = specs

    def digest(self, name: str) -> bytes:
        source = self._homes[name]
        name = source.aliases.get(name, name)
        key = source.path, name
        if key not in self._digests:
            self._digests[key] = blake3(source.raw(name)).digest(DIGEST_BYTES)
            source.release(name)
        return self._digests[key]

    def rectangle(self, name: str, row: int, column: int, shape: tuple[int, int]) -> np.ndarray:
        matrix = self.array(name).reshape(matrix_shape(self.specs[name]))
        return np.ascontiguousarray(matrix[row : row + shape[0], column : column + shape[1]])

    def array(self, name: str) -> np.ndarray:
        return self._homes[name].read(name)

    def release(self, name: str) -> None:
        self._homes[name].release(name)

    def close(self) -> None:
        for source in self._sources:
            source.close()


class _ArchiveModel:
    """The tensors of an archive."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._archive: Archive = open_archive(path)
        self._digests: dict[str, bytes] = {}
        self.specs: Mapping[str, TensorSpec] = self._archive.specs
        if any(file.index.base is not None for file in self._archive.files):
            self._archive.close()
            raise UsageError(
                f"{path}: is packed against a base itself, and a base must stand alone; "
                "run `tersor unpack` and give the restored folder, or give that base"
            )

    def digest(self, name: str) -> bytes:
        recorded = self._archive.digest(name)
        if recorded is not None:
            return recorded[:DIGEST_BYTES]
        if name not in self._digests:
            whole = blake3()
            for chunk in self._archive.tensor(name).chunks():
                whole.update(chunk)
            self._digests[name] = whole.digest(DIGEST_BYTES)
        return self._digests[name]

    def rectangle(self, name: str, row: int, column: int, shape: tuple[int, int]) -> np.ndarray:
        out = np.empty(shape, self.specs[name].numpy_dtype)
        rows, columns = range(row, row + shape[0]), range(column, column + shape[1])
        self._archive.tensor(name).read_into(out, rows, columns)
        return out

    def array(self, name: str) -> np.ndarray:
        return self._archive[name]

    def release(self, name: str) -> None:
        """Nothing stays mapped."""

    def close(self) -> None:
        self._archive.close()


def digest_of(array: np.ndarray) -> bytes:
    """Return the first 16 bytes of the BLAKE3 hash of an array's bytes."""
    return blake3(as_bytes(array)).digest(DIGEST_BYTES)
