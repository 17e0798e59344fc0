"""Whole archives: original files, the folder record, one file or a folder (sections 1, 3.2 to 3.4)."""

import hashlib
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from .container import MAX_PATHS, Container, read_container
from .errors import FormatError, require
from .tensors import read_tensors, tensor_bytes

SUFFIX = ".tersor.safetensors"


@dataclass
class Archive:
    """Everything in an archive.

    tensors: by name. If two archive files use a name, the later one's is `PATH:NAME`, PATH being its file.
        BF16, F8 and narrower types are unsigned integers of the same bits. Aliases are the same array object.
    unreadable: why, for tensors that use something that version 1 does not define.
    files: restored original files by path, those beside the archive files included.
    """

    tensors: dict[str, np.ndarray] = field(default_factory=dict)
    unreadable: dict[str, str] = field(default_factory=dict)
    files: dict[str, bytes] = field(default_factory=dict)
    provenance: dict[str, Any] = field(default_factory=dict)
    empty_folders: list[str] = field(default_factory=list)
    is_file: bool = False
    lossless: bool = False


def read_archive(path: Path | str) -> Archive:
    """Read and check the whole archive at `path`: a folder, or one archive file (then that file alone)."""
    path = Path(path)
    archive = Archive()
    if path.is_file():
        container = read_container(path.read_bytes(), path.name)
        _add_file(archive, path.name, container, path.parent)
        archive.provenance = container.provenance
        if container.folder is not None:
            _read_folder(archive, path.parent, container.folder, with_archives=False)
        return archive
    primary_path, primary = _find_primary(path)
    archive.provenance = primary.provenance
    _add_file(archive, primary_path, primary, path)
    _read_folder(archive, path, primary.folder, with_archives=True)
    return archive


def _find_primary(root: Path) -> tuple[str, Container]:
    found = []
    for file in sorted(root.rglob(f"*{SUFFIX}")):
        name = file.relative_to(root).as_posix()
        container = read_container(file.read_bytes(), name)
        if container.folder is not None:
            found.append((name, container))
    require(len(found) == 1, f"{root}: {len(found)} archive files carry the folder record, one needed")
    return found[0]


def _add_file(archive: Archive, path: str, container: Container, root: Path) -> None:
    """Put the tensors and original files of one archive file into `archive`."""
    arrays, unreadable, parts = read_tensors(container, (root / path).parent)
    for number, (stream, array) in enumerate(zip(container.streams, arrays, strict=True)):
        if number in parts:
            continue
        is_taken = stream.name in archive.tensors or stream.name in archive.unreadable
        name = f"{path}:{stream.name}" if is_taken else stream.name
        if array is None:
            archive.unreadable[name] = unreadable[stream.name]
        else:
            archive.tensors[name] = array
    for record in container.files:
        _restore_file(archive, record, arrays, path)


def _restore_file(archive: Archive, record: Any, arrays: list[np.ndarray | None], where: str) -> None:
    require(isinstance(record, list) and len(record) >= 4, f"{where}: file record {record!r}")
    path, n_bytes, digest, segments = record[:4]
    require(isinstance(segments, list), f"{where}: file {path!r}: segments are no array")
    parts = []
    for segment in segments:
        if isinstance(segment, bytes):
            parts.append(segment)
            continue
        is_number = type(segment) is int and 0 <= segment < len(arrays)
        require(is_number, f"{where}: file {path!r}: segment {segment!r}")
        array = arrays[segment]
        if array is None:
            return  # it holds a tensor of an unknown layout: listed in `unreadable`
        parts.append(tensor_bytes(array))
    _add_checked(archive, path, n_bytes, digest, b"".join(parts))


def _add_checked(archive: Archive, path: Any, n_bytes: Any, digest: Any, data: bytes) -> None:
    _check_path(path)
    require(path not in archive.files, f"file {path!r} is recorded twice")
    require(len(data) == n_bytes, f"file {path!r}: {len(data)} bytes, {n_bytes} recorded")
    require(hashlib.sha256(data).digest() == digest, f"file {path!r}: the SHA-256 is wrong")
    archive.files[path] = data


def _check_path(path: Any) -> None:
    require(isinstance(path, str), f"path {path!r} is no str")
    parts = path.split("/")
    is_safe = all(part not in ("", ".", "..") for part in parts) and "\0" not in path and "\\" not in path
    require(is_safe, f"path {path!r} is not relative and plain")


def _read_folder(archive: Archive, root: Path, record: Any, with_archives: bool) -> None:
    """Check and add what the folder record lists."""
    require(isinstance(record, list) and len(record) >= 5, f"folder record {record!r}")
    is_file, archives, side_files, empty_folders, lossless = record[:5]
    require(isinstance(is_file, bool) and isinstance(lossless, bool), "folder record: bool expected")
    for part in (archives, side_files, empty_folders):
        require(isinstance(part, list) and len(part) <= MAX_PATHS, "folder record: array expected")
    archive.is_file, archive.lossless, archive.empty_folders = is_file, lossless, empty_folders
    for path in empty_folders:
        _check_path(path)
    if with_archives:
        for entry in archives:
            _add_sibling(archive, root, entry)
    for entry in side_files:
        _add_side_file(archive, root, entry)


def _add_sibling(archive: Archive, root: Path, entry: Any) -> None:
    require(isinstance(entry, list) and len(entry) >= 2, f"folder record: archive {entry!r}")
    path, checksum = entry[:2]
    _check_path(path)
    container = read_container(_read(root, path), path)
    require(container.index_crc == checksum, f"{path}: belongs to another archive: its index differs")
    require(container.folder is None, f"{path}: carries a folder record too")
    _add_file(archive, path, container, root)


def _add_side_file(archive: Archive, root: Path, entry: Any) -> None:
    require(isinstance(entry, list) and len(entry) >= 4, f"folder record: side file {entry!r}")
    path, n_bytes, digest, content = entry[:4]
    _check_path(path)
    require(content is None or isinstance(content, bytes), f"side file {path!r}: content is no bin")
    _add_checked(archive, path, n_bytes, digest, _read(root, path) if content is None else content)


def _read(root: Path, path: str) -> bytes:
    try:
        return (root / path).read_bytes()
    except OSError as exc:
        raise FormatError(f"{path}: is part of the archive and cannot be read: {exc}") from exc
