"""`unpack`: the files that `pack` was given, byte for byte."""

from __future__ import annotations

import time
from collections.abc import Callable
from hashlib import sha256
from os import PathLike
from pathlib import Path, PurePosixPath
from typing import Any, BinaryIO

from tersor.archive.file import ArchiveFile
from tersor.archive.index import FileRecord, FolderRecord, SideRecord
from tersor.archive.reader import open_archive
from tersor.archive.restore import file_bytes
from tersor.archive.verify import side_file_problem
from tersor.archive.writer import producer_name
from tersor.errors import CorruptError, UsageError
from tersor.output import OutputFile, OutputFolder
from tersor.packing.packer import Progress, check_threads

_COPY_BYTES = 1 << 20


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

    output: the new folder; of an archive made from a single file, the new file.
    base: the model that the archive was packed against, if it was; None: at $TERSOR_BASE, else where it lay.
    Every file's SHA-256 is checked while it is written; if one is wrong, nothing is left behind.
    progress: called with (bytes done, bytes in all).
    Returns {"input": {path, n_bytes}, "output": {path, n_bytes, n_files}, "seconds", "version"}.
    Raises: UsageError (a lossy archive, a single shard), CorruptError, OutputError, OutputExistsError.
    """
    started = time.monotonic()
    check_threads(threads)
    archive, output = Path(archive), Path(output)
    with open_archive(archive, base=base) as opened:
        record = opened.folder
        _check_restorable(archive, record)
        assert record is not None
        job = _Unpacking(opened.files, record, threads, progress)
        if record.is_file:
            with OutputFile(output, force=force, inputs=[archive]) as file:
                job.write_single(file.write)
        else:
            with OutputFolder(output, force=force, inputs=[archive]) as folder:
                job.write_folder(archive, folder)
        return {
            "input": {"path": str(archive), "n_bytes": sum(file.ranges.n_bytes for file in opened.files)},
            "output": {"path": str(output), "n_bytes": job.n_total_bytes, "n_files": job.n_files},
            "seconds": time.monotonic() - started,
            "version": producer_name(),
        }


def _check_restorable(path: Path, record: FolderRecord | None) -> None:
    if record is None:
        raise UsageError(f"{path}: is one file of an archive folder; give the folder")
    if not record.lossless:
        raise UsageError(
            f"{path}: was made by `tersor compress`, which keeps no original to restore; load it with tersor.load or "
            "tersor.open"
        )
    if path.is_file() and record.archives:
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

    def write_folder(self, archive: Path, output: Path) -> None:
        """Write every file and empty folder below `output`."""
        base = archive if archive.is_dir() else archive.parent
        for path in self._folder.empty_folders:
            (output / path).mkdir(parents=True, exist_ok=True)
        for file, record in self._records:
            with _new_file(output, record.path) as target:
                self._write(file, record, target.write)
        for side in self._folder.side_files:
            problem = side_file_problem(base, side)
            if problem:
                raise CorruptError(f"{archive}: {problem}")
            with _new_file(output, side.path) as target:
                self._write_side(base, side, target.write)

    def _write(self, file: ArchiveFile, record: FileRecord, write: Callable[[Any], object]) -> None:
        for chunk in file_bytes(file, record, self._threads):
            write(chunk)
            self._advance(len(chunk))

    def _write_side(self, base: Path, side: SideRecord, write: Callable[[Any], object]) -> None:
        if side.content is not None:
            write(side.content)
            self._advance(side.n_bytes)
            return
        digest = sha256()
        with open(base / side.path, "rb") as source:
            while chunk := source.read(_COPY_BYTES):
                digest.update(chunk)
                write(chunk)
                self._advance(len(chunk))
        if digest.digest() != side.sha256:
            raise CorruptError(f"side file {side.path}: changed while it was read; run again")

    def _advance(self, n_bytes: int) -> None:
        self._n_done_bytes += n_bytes
        if self._progress is not None:
            self._progress(self._n_done_bytes, self.n_total_bytes)


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
