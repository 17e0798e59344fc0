"""`unpack`: the files that `pack` was given, byte for byte."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from hashlib import sha256
from os import PathLike
from pathlib import Path, PurePosixPath
from typing import Any, BinaryIO

from tersor.archive.file import ArchiveFile
from tersor.archive.index import FileRecord, FolderRecord, SideRecord
from tersor.archive.places import Place, is_folder, locate, shown, side_file_chunks
from tersor.archive.reader import open_archive
from tersor.archive.restore import file_bytes
from tersor.archive.writer import producer_name
from tersor.errors import CorruptError, UsageError
from tersor.output import OutputFile, OutputFolder
from tersor.packing.packer import Progress, check_threads


def unpack(
    archive: str | PathLike[str],
    output: str | PathLike[str],
    *,
    base: str | PathLike[str] | None = None,
    threads: int = 1,
    force: bool = False,
    progress: Progress | None = None,
) -> dict[str, Any]:
    """Restore the folder (or the single file) that `pack` was given, byte for byte.

    archive: or a URL, as for tersor.open. output: the new folder; of an archive made from a single file, the new file.
    base: the model that the archive was packed against, if it was; None: at $TERSOR_BASE, else where it lay.
    Every file's SHA-256 is checked while it is written; if one is wrong, nothing is left behind.
    progress: called with (bytes done, bytes in all).
    Returns {"input": {path, n_bytes}, "output": {path, n_bytes, n_files}, "seconds", "version"}.
    Raises: UsageError (a lossy archive, a single shard), CorruptError, OutputError, OutputExistsError.
    """
    started = time.monotonic()
    check_threads(threads)
    place, output = locate(archive), Path(output)
    inputs = [place] if isinstance(place, Path) else []
    with open_archive(archive, base=base) as opened:
        record = opened.folder
        _check_restorable(place, record)
        assert record is not None
        job = _Unpacking(opened.files, record, threads, progress)
        if record.is_file:
            with OutputFile(output, force=force, inputs=inputs) as file:
                job.write_single(file.write)
        else:
            with OutputFolder(output, force=force, inputs=inputs) as folder:
                job.write_folder(place, folder)
        return {
            "input": {"path": shown(place), "n_bytes": sum(file.ranges.n_bytes for file in opened.files)},
            "output": {"path": str(output), "n_bytes": job.n_total_bytes, "n_files": job.n_files},
            "seconds": time.monotonic() - started,
            "version": producer_name(),
        }


def _check_restorable(place: Place, record: FolderRecord | None) -> None:
    path = shown(place)
    if record is None:
        raise UsageError(f"{path}: is one file of an archive folder; give the folder")
    if not record.lossless:
        raise UsageError(
            f"{path}: was made by `tersor compress`, which keeps no original to restore; load it with tersor.load or "
            "tersor.open"
        )
    if not is_folder(place) and record.archives:
        raise UsageError(
            f"{path}: is one of {len(record.archives) + 1} files of an archive folder; give the folder"
        )


class _Unpacking:
    """One run of `unpack`."""

    def __init__(
        self, files: list[ArchiveFile], folder: FolderRecord, threads: int, progress: Progress | None
    ) -> None:
        self._records = [(file, record) for file in files for record in file.index.files]
        self._folder = folder
        self._threads = threads
        self._progress = progress
        self.n_files = len(self._records) + len(folder.side_files)
        self.n_total_bytes = sum(record.n_bytes for _, record in self._records) + sum(
            record.n_bytes for record in folder.side_files
        )
        self._n_done_bytes = 0
        _check_distinct(
            [*(record.path for _, record in self._records), *(side.path for side in folder.side_files)]
        )

    def write_single(self, write: Callable[[Any], object]) -> None:
        """Write the one file of the archive."""
        if len(self._records) != 1 or self._folder.side_files:
            raise CorruptError(f"the archive claims to hold a single file, but holds {self.n_files}")
        self._write(*self._records[0], write)

    def write_folder(self, place: Place, output: Path) -> None:
        """Write every file and empty folder below `output`."""
        for path in self._folder.empty_folders:
            (output / path).mkdir(parents=True, exist_ok=True)
        for file, record in self._records:
            with _new_file(output, record.path) as target:
                self._write(file, record, target.write)
        for side in self._folder.side_files:
            with _new_file(output, side.path) as target:
                self._write_side(place, side, target.write)

    def _write(self, file: ArchiveFile, record: FileRecord, write: Callable[[Any], object]) -> None:
        for chunk in file_bytes(file, record, self._threads):
            write(chunk)
            self._advance(len(chunk))

    def _write_side(self, place: Place, side: SideRecord, write: Callable[[Any], object]) -> None:
        digest, n_bytes = sha256(), 0
        for chunk in [side.content] if side.content is not None else _side_chunks(place, side):
            digest.update(chunk)
            n_bytes += len(chunk)
            if n_bytes > side.n_bytes:  # whatever follows, it is another file
                break
            write(chunk)
            self._advance(len(chunk))
        if (n_bytes, digest.digest()) != (side.n_bytes, side.sha256):
            raise CorruptError(
                f"{shown(place)}: side file {side.path}: {n_bytes} bytes with SHA-256 {digest.hexdigest()}, the "
                f"original had {side.n_bytes} with {side.sha256.hex()}; it was changed, fetch it again"
            )

    def _advance(self, n_bytes: int) -> None:
        self._n_done_bytes += n_bytes
        if self._progress is not None:
            self._progress(self._n_done_bytes, self.n_total_bytes)


def _side_chunks(place: Place, side: SideRecord) -> Iterator[bytes]:
    try:
        yield from side_file_chunks(place, side.path)
    except OSError as exc:
        raise CorruptError(
            f"{shown(place)}: side file {side.path}: {exc.strerror or exc}; fetch it again"
        ) from exc


def _check_distinct(paths: list[str]) -> None:
    """Raise CorruptError if a path appears twice, or is both a file and a folder of other files."""
    files = set(paths)
    if len(files) != len(paths):
        raise CorruptError("the archive restores one path twice; it is damaged or made to deceive")
    for path in files:
        for parent in PurePosixPath(path).parents:
            if str(parent) in files:
                raise CorruptError(f"the archive restores {str(parent)!r} both as a file and as a folder")


def _new_file(output: Path, relative: str) -> BinaryIO:
    target = output / relative
    target.parent.mkdir(parents=True, exist_ok=True)
    return open(target, "xb")
