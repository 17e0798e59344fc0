"""`verify(path)`: decode everything, check every sum, and list all that is wrong."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from hashlib import sha256
from os import PathLike
from pathlib import Path
from typing import Any

from tersor.archive.file import ArchiveFile
from tersor.archive.folder import find_archive_files
from tersor.archive.index import FolderRecord, SideRecord
from tersor.archive.limits import ARCHIVE_SUFFIX
from tersor.archive.places import Place, is_folder, locate, side_file_chunks
from tersor.archive.reader import find_bases, folder_problems
from tersor.archive.restore import tensor_bytes
from tersor.archive.urls import RemotePlace
from tersor.errors import CorruptError, NewerFormatError, TersorError, UsageError
from tersor.sources import open_source
from tersor.sources.folder import scan

Progress = Callable[[int, int], None]


def verify(
    path: str | PathLike[str],
    *,
    against: str | PathLike[str] | None = None,
    base: str | PathLike[str] | None = None,
    threads: int = 1,
    progress: Progress | None = None,
) -> dict[str, Any]:
    """Check an archive folder or file; return {"ok", "n_files", "n_tensors", "n_blocks", "problems"}.

    Checked: structure, every block's CRC-32C, every tensor's BLAKE3 hash, every original file's SHA-256, the side
        files, and that the folder holds the archive files that its primary names, no more, no fewer.
    path: or a URL, as for tersor.open.
    against: the original folder or file. If the archive is lossless, its files must be the recorded ones;
        if it is lossy, its tensors must have the archive's names, dtypes and shapes.
    base: the model that an archive of deltas needs, as for tersor.open; UsageError if it is missing.
    problems: one message each; all are collected. ok: there are none.
    progress: called with (bytes decoded, bytes of all tensors).
    Raises: UsageError if there is nothing to verify.
    """
    place = locate(path)
    check = _Check(threads, progress)
    files = check.open(place)
    try:
        find_bases(files, place, base)
        for file in files:
            file.check_base()
        if is_folder(place):
            check.problems += folder_problems(files)
        check.n_total_bytes = sum(spec.n_bytes for file in files for spec in file.specs.values())
        for file in files:
            check.contents(file)
        folder = next((file.index.folder for file in files if file.index.folder is not None), None)
        if folder is not None:
            for record in folder.side_files:
                check.side_file(place, record)
        if against is not None:
            check.problems += _differences(files, folder, Path(against))
    finally:
        for file in files:
            file.close()
    return {
        "ok": not check.problems,
        "n_files": check.n_files,
        "n_tensors": check.n_tensors,
        "n_blocks": check.n_blocks,
        "problems": check.problems,
    }


class _Check:
    """What has been found so far."""

    def __init__(self, threads: int, progress: Progress | None) -> None:
        self.problems: list[str] = []
        self.n_files = self.n_tensors = self.n_blocks = 0
        self.n_total_bytes = 0
        self._n_done_bytes = 0
        self._threads = threads
        self._progress = progress

    def open(self, place: Place) -> list[ArchiveFile]:
        """Return the archive files that open; note those that do not. Behind a URL all must open."""
        if isinstance(place, RemotePlace):
            files = place.open_files()
            self.n_files += len(files)
            return files
        files = []
        for relative, path in find_archive_files(place).items():
            self.n_files += 1
            try:
                files.append(ArchiveFile.open(path, relative))
            except (CorruptError, NewerFormatError) as exc:
                self.problems.append(str(exc))
        return files

    def contents(self, file: ArchiveFile) -> None:
        """Decode every tensor once, feeding the SHA-256 of the original file that it is part of."""
        self.n_tensors += len(file.streams) - len(file.parts)
        try:
            file.index.provenance_dict()
        except CorruptError as exc:
            self.problems.append(f"{file.name}: {exc}")
        seen: set[int] = set()
        for record in file.index.files:
            digest, n_bytes, n_before = sha256(), 0, len(self.problems)
            for segment in record.segments:
                if isinstance(segment, int):
                    n_bytes += self._tensor(file, segment, digest.update, segment not in seen)
                    seen.add(segment)
                else:
                    digest.update(segment)
                    n_bytes += len(segment)
            is_sound = n_bytes == record.n_bytes and digest.digest() == record.sha256
            if len(self.problems) == n_before and not is_sound:
                self.problems.append(
                    f"{file.name}: file {record.path!r}: SHA-256 of its {n_bytes} bytes is {digest.hexdigest()}, "
                    f"the index says {record.sha256.hex()} of {record.n_bytes}"
                )
        for number in range(len(file.streams)):
            if number not in seen:
                self._tensor(file, number, None, True)

    def _tensor(
        self, file: ArchiveFile, number: int, feed: Callable[[memoryview], None] | None, is_new: bool
    ) -> int:
        """Decode a tensor; return its bytes. is_new: count its blocks and bytes (a file may use it twice)."""
        if feed is None and file.target(number) != number:
            return 0
        n_bytes = 0
        try:
            if is_new and file.target(number) == number:
                self.n_blocks += len(file.tensor(number).table)
            for chunk in tensor_bytes(file, number, self._threads, self.problems.append):
                n_bytes += len(chunk)
                if feed is not None:
                    feed(chunk)
                if is_new:
                    self._advance(len(chunk))
        except (CorruptError, NewerFormatError, UsageError) as exc:
            self.problems.append(str(exc))
        return n_bytes

    def _advance(self, n_bytes: int) -> None:
        self._n_done_bytes += n_bytes
        if self._progress is not None:
            self._progress(self._n_done_bytes, self.n_total_bytes)

    def side_file(self, place: Place, record: SideRecord) -> None:
        """Check a side file: the bytes kept in the index, or those that lie in the folder."""
        self.n_files += 1
        problem = side_file_problem(place, record)
        if problem:
            self.problems.append(problem)


def side_file_problem(place: Place, record: SideRecord) -> str:
    """Return what is wrong with a side file of the archive at a place, or ""."""
    if record.content is not None:
        n_bytes, digest = len(record.content), sha256(record.content).digest()
    else:
        try:
            n_bytes, digest = _digest(side_file_chunks(place, record.path))
        except (OSError, TersorError) as exc:
            return f"side file {record.path}: {_reason(exc)}; fetch it again"
    if (n_bytes, digest) != (record.n_bytes, record.sha256):
        return (
            f"side file {record.path}: {n_bytes} bytes with SHA-256 {digest.hex()}, "
            f"the original had {record.n_bytes} with {record.sha256.hex()}; it was changed, fetch it again"
        )
    return ""


def _digest(chunks: Iterable[bytes]) -> tuple[int, bytes]:
    """Return the number of bytes in all chunks, and their SHA-256."""
    digest, n_bytes = sha256(), 0
    for chunk in chunks:
        digest.update(chunk)
        n_bytes += len(chunk)
    return n_bytes, digest.digest()


def _reason(error: OSError | TersorError) -> str:
    """Return what an error says, without the path that the message around it names."""
    return (error.strerror if isinstance(error, OSError) else None) or str(error)


def _file_digest(path: Path) -> tuple[int, bytes]:
    return _digest(side_file_chunks(path.parent, path.name))


def _differences(files: list[ArchiveFile], folder: FolderRecord | None, original: Path) -> list[str]:
    """Return how the original differs from what the archive says of it."""
    if folder is not None and folder.lossless:
        return _file_differences(files, folder, original)
    try:
        return _tensor_differences(files, original)
    except TersorError as exc:
        return [str(exc)]


def _file_differences(files: list[ArchiveFile], folder: FolderRecord, original: Path) -> list[str]:
    checkpoint = scan(original)
    recorded = {record.path: (record.n_bytes, record.sha256) for record in folder.side_files}
    for file in files:
        recorded.update({record.path: (record.n_bytes, record.sha256) for record in file.index.files})
    present = {entry.relative: entry.path for entry in checkpoint.files}
    if checkpoint.is_single_file and folder.is_file:  # it may have been renamed
        present = dict.fromkeys(recorded, original) if len(recorded) == 1 else present
    problems = [f"{original}: {name} is not in the archive" for name in present if name not in recorded]
    for name, expected in recorded.items():
        if name not in present:
            problems.append(f"{original}: lacks {name}, which the archive holds")
        elif _file_digest(present[name]) != expected:
            problems.append(f"{original}: {name} differs from what the archive restores")
    missing = sorted(set(folder.empty_folders) - set(checkpoint.empty_folders))
    return problems + [f"{original}: lacks the empty folder {name}" for name in missing]


def _tensor_differences(files: list[ArchiveFile], original: Path) -> list[str]:
    stored = {
        spec.name: spec for file in files for number, spec in file.specs.items() if number not in file.parts
    }
    found = {}
    for entry in scan(original).with_role("weights"):
        if not entry.relative.endswith(ARCHIVE_SUFFIX):
            with open_source(entry.path) as source:
                found.update({spec.name: spec for spec in source.specs})
    problems = [f"tensor {name!r} is not in {original}" for name in stored if name not in found]
    problems += [
        f"tensor {name!r} of {original} is not in the archive" for name in found if name not in stored
    ]
    problems += [
        f"tensor {name!r} is {spec.dtype} {list(spec.shape)}, in {original} it is "
        f"{found[name].dtype} {list(found[name].shape)}"
        for name, spec in stored.items()
        if name in found and (spec.dtype, spec.shape) != (found[name].dtype, found[name].shape)
    ]
    return problems
