"""What a checkpoint consists of: every file under a path, with its role."""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from tersor.errors import UsageError
from tersor.sources.roles import Role, role_of
from tersor.types import TensorSpec

if TYPE_CHECKING:
    from tersor.sources.weights import Weights

ARCHIVE_SUFFIX = ".tersor.safetensors"
MAX_FILES = 1_000_000
MAX_DEPTH = 64


@dataclass(frozen=True, slots=True)
class FileEntry:
    """One regular file of a checkpoint.

    relative: POSIX path inside the checkpoint; never absolute, never with "..".
    path: where it lies; may be a symbolic link to a file anywhere (the Hugging Face cache is made of them).
    """

    relative: str
    path: Path
    n_bytes: int
    role: Role

    @property
    def folder(self) -> str:
        """The part of `relative` before the file's name; "" at the top."""
        return self.relative.rpartition("/")[0]

    @property
    def name(self) -> str:
        return self.relative.rpartition("/")[2]


@dataclass(frozen=True, slots=True)
class Checkpoint:
    """Every file under a path.

    root: the folder, or the parent of a single file.
    files: sorted by relative path; empty_folders: POSIX paths of folders that hold nothing.
    """

    root: Path
    files: tuple[FileEntry, ...]
    empty_folders: tuple[str, ...] = ()
    is_single_file: bool = False

    @property
    def n_bytes(self) -> int:
        return sum(entry.n_bytes for entry in self.files)

    def with_role(self, role: Role) -> tuple[FileEntry, ...]:
        """Return the files of one role, in order."""
        return tuple(entry for entry in self.files if entry.role == role)

    def find(self, relative: str) -> FileEntry | None:
        """Return the file at a relative path, or None."""
        return next((entry for entry in self.files if entry.relative == relative), None)

    def open_weights(self, folder: str = "") -> Weights:
        """Return all tensors of the model in `folder`, opened; see `tersor.sources.weights.Weights`."""
        from tersor.sources.weights import Weights

        return Weights(self, folder)

    def weight_specs(self, folder: str = "") -> tuple[TensorSpec, ...]:
        """Return the specs of all tensors of the model in `folder`, in the order of `Weights`."""
        with self.open_weights(folder) as weights:
            return tuple(weights)


def scan(path: Path | str) -> Checkpoint:
    """Return what a checkpoint consists of; reads names, sizes and first bytes only.

    path: a folder (nested ones included) or one file.
    Links to files are followed wherever they lead; links to folders only if they stay inside `path` and
    do not lead back to a folder that contains them.
    Raises: UsageError if path does not exist, holds a dangling link, a folder link as above, a device,
        pipe or socket, an unreadable file, a name that is not UTF-8, or is a tersor archive already.
    """
    path = Path(path)
    try:
        is_folder = stat.S_ISDIR(path.stat().st_mode)
    except OSError as exc:
        raise UsageError(
            f"{path}: no such file or folder; give the path of a checkpoint ({exc.strerror})"
        ) from exc
    if not is_folder:
        return Checkpoint(path.parent, (_describe_file(path, path.name),), is_single_file=True)
    entries: list[FileEntry] = []
    empty_folders: list[str] = []
    for relative, found in _walk(path, path.resolve(), "", ()):
        if found is None:
            empty_folders.append(relative)
        else:
            entries.append(_describe_file(found, relative))
        if len(entries) > MAX_FILES:
            raise UsageError(f"{path}: more than {MAX_FILES} files; give the folder of one checkpoint")
    entries.sort(key=lambda entry: entry.relative)
    return Checkpoint(path, tuple(entries), tuple(sorted(empty_folders)))


def _walk(
    folder: Path, root: Path, prefix: str, above: tuple[tuple[int, int], ...]
) -> Iterator[tuple[str, Path | None]]:
    """Yield (relative path, file) for everything below, and (relative path, None) for empty folders.

    above: device and inode of each folder that contains this one.
    """
    names = _list(folder)
    status = folder.stat()
    here = (status.st_dev, status.st_ino)
    if here in above:
        raise UsageError(f"{folder}: this link leads back to a folder that contains it; remove it")
    if len(above) >= MAX_DEPTH:
        raise UsageError(f"{folder}: folders are nested more than {MAX_DEPTH} deep")
    if not names and prefix:
        yield prefix.rstrip("/"), None
    for name in names:
        path = folder / name
        if not path.is_dir():
            yield prefix + name, path
            continue
        if path.is_symlink() and not path.resolve().is_relative_to(root):
            raise UsageError(
                f"{path}: this link leads to a folder outside the checkpoint; replace it by a copy"
            )
        yield from _walk(path, root, f"{prefix}{name}/", (*above, here))


def _list(folder: Path) -> list[str]:
    try:
        return sorted(os.listdir(folder))
    except OSError as exc:
        raise UsageError(f"{folder}: cannot be listed: {exc.strerror}; check its permissions") from exc


def _describe_file(path: Path, relative: str) -> FileEntry:
    try:
        relative.encode("utf-8")
    except UnicodeEncodeError as exc:
        raise UsageError(f"{os.fsencode(path)!r}: the file's name is not UTF-8; rename it") from exc
    if relative.endswith(ARCHIVE_SUFFIX):
        raise UsageError(
            f"{path}: is a tersor archive already; give the original checkpoint, or run `tersor unpack` first"
        )
    try:
        status = path.stat()
    except OSError as exc:
        what = "link leads nowhere" if path.is_symlink() else f"cannot be read ({exc.strerror})"
        raise UsageError(f"{path}: this {what}; remove it or fetch its target") from exc
    if not stat.S_ISREG(status.st_mode):
        raise UsageError(f"{path}: is neither a file nor a folder (a device, pipe or socket); remove it")
    return FileEntry(relative, path, status.st_size, role_of(relative, path, status.st_size))
