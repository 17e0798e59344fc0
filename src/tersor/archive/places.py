"""Where an archive lies: a local folder or file, or a URL."""

from __future__ import annotations

from collections.abc import Iterator
from os import PathLike
from pathlib import Path

from tersor.archive.file import ArchiveFile
from tersor.archive.folder import find_archive_files
from tersor.archive.urls import RemotePlace, is_url

Place = Path | RemotePlace
_PIECE_BYTES = 1 << 20


def locate(path: str | PathLike[str]) -> Place:
    """Return the place that a path or URL names, without looking whether anything is there."""
    return RemotePlace(path) if is_url(path) else Path(path)


def is_folder(place: Place) -> bool:
    """Whether the place is a folder and no single file."""
    return place.is_folder if isinstance(place, RemotePlace) else place.is_dir()


def shown(place: Place) -> str:
    """Return the place for messages and results; a URL without its query."""
    return place.shown if isinstance(place, RemotePlace) else str(place)


def open_files(place: Place) -> list[ArchiveFile]:
    """Open all archive files of a place, in the order in which they name tensors.

    Raises: UsageError (nothing there), TransferError, CorruptError, NewerFormatError; then none stays open.
    """
    if isinstance(place, RemotePlace):
        return place.open_files()
    files: list[ArchiveFile] = []
    try:
        for relative, path in find_archive_files(place).items():
            files.append(ArchiveFile.open(path, relative))
    except BaseException:
        for file in files:
            file.close()
        raise
    return files


def side_file_chunks(place: Place, relative: str) -> Iterator[bytes]:
    """Yield the bytes of a file beside the archive files. Raises OSError (local), UsageError, TransferError."""
    if isinstance(place, RemotePlace):
        yield from place.chunks(relative)
        return
    with open((place if place.is_dir() else place.parent) / relative, "rb") as file:
        while chunk := file.read(_PIECE_BYTES):
            yield chunk
