"""Files behind any other URL: fsspec knows how to read them."""

from __future__ import annotations

from typing import Any

from tersor.archive.limits import ARCHIVE_SUFFIX
from tersor.archive.urls import NotThereError
from tersor.errors import MissingExtraError, TransferError, UsageError


class FsspecFolder:
    """A folder on a file system of fsspec. Raises UsageError (unknown kind of URL), MissingExtraError."""

    def __init__(self, base: str) -> None:
        self.shown = base
        kind = base.partition(":")[0]
        try:
            from fsspec.core import url_to_fs
        except ImportError as exc:
            raise MissingExtraError(
                f"{base}: {kind} URLs need fsspec; run: pip install 'tersor[cloud]'"
            ) from exc
        try:
            self._fs, self._root = url_to_fs(base)
        except ImportError as exc:  # its message names the package
            raise MissingExtraError(f"{base}: {kind} URLs need another package: {exc}") from exc
        except ValueError as exc:
            raise UsageError(
                f"{base}: cannot be opened: {exc}; give a path, or a URL of a kind that fsspec knows"
            ) from exc

    def file(self, relative: str) -> FsspecFile:
        """Return a file below the folder."""
        return FsspecFile(self._fs, f"{self._root.rstrip('/')}/{relative}", f"{self.shown}/{relative}")

    def archive_files(self) -> list[str]:
        """Return the paths of all archive files, relative to the folder."""
        root = self._root.rstrip("/") + "/"
        try:
            paths = [str(path) for path in self._fs.find(self._root)]
        except OSError as exc:
            raise TransferError(
                f"{self.shown}: cannot be listed: {exc}; check the URL and run again"
            ) from exc
        found = [path.removeprefix(root) for path in paths if path.endswith(ARCHIVE_SUFFIX)]
        if not found:
            raise NotThereError(f"{self.shown}: no *{ARCHIVE_SUFFIX} file in this folder; check the URL")
        return found


class FsspecFile:
    """One file of a file system of fsspec."""

    def __init__(self, fs: Any, path: str, shown: str) -> None:
        self._fs = fs
        self._path = path
        self._shown = shown

    def first(self, n_bytes: int) -> tuple[bytes, int]:
        """Return the first n_bytes, all of a shorter file, and the size of the file."""
        try:
            size = self._fs.size(self._path)
        except FileNotFoundError as exc:
            raise NotThereError(f"{self._shown}: there is no such file; check the URL") from exc
        except OSError as exc:
            raise self._failed(exc) from exc
        if not isinstance(size, int):
            raise UsageError(f"{self._shown}: its size is not known; fetch the file and open the copy")
        return (self.fetch(0, min(n_bytes, size)) if size else b""), size

    def fetch(self, begin: int, end: int) -> bytes:
        """Return bytes begin..end."""
        try:
            data = bytes(self._fs.cat_file(self._path, start=begin, end=end))
        except OSError as exc:
            raise self._failed(exc) from exc
        if len(data) != end - begin:
            raise TransferError(f"{self._shown}: got {len(data)} bytes of {end - begin}; run again")
        return data

    def _failed(self, error: OSError) -> TransferError:
        return TransferError(f"{self._shown}: cannot be read: {error}; check the network and run again")
