"""Archives behind URLs: which strings are URLs, and the files of a folder that may not be listable.

http and https need nothing but Python; every other kind (s3, gs, hf, memory, ...) is opened through fsspec.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from typing import Protocol, TypeGuard
from urllib.parse import unquote

from tersor.archive.file import ArchiveFile
from tersor.archive.folder import SHARD_INDEX_NAME, archive_name, nearest_first, shard_index_name
from tersor.archive.index import check_paths
from tersor.archive.limits import ARCHIVE_SUFFIX, HEAD_GUESS_BYTES, MAX_REMOTE_FILES, MAX_RUN_BYTES
from tersor.archive.ranges import RemoteFile, RemoteRanges
from tersor.errors import CorruptError, UsageError

# "kind://", or a chain of fsspec such as "simplecache::s3://".
_URL = re.compile(r"[A-Za-z][A-Za-z0-9+.\-]*(::[A-Za-z0-9+.\-]+)*://")
_SINGLE = archive_name("model.safetensors")
_SHARD_INDEX = shard_index_name(SHARD_INDEX_NAME)
_MAX_SHARD_INDEX_BYTES = 16 << 20


class NotThereError(UsageError):
    """The server has no such file, or shows it to others only."""


class RemoteFolder(Protocol):
    """A folder behind a URL."""

    shown: str
    """The URL for messages, without its query, which may hold a secret."""

    def file(self, relative: str) -> RemoteFile:
        """Return a file below the folder, not opened yet. relative: checked, with "/"."""

    def archive_files(self) -> list[str] | None:
        """Return the paths of all archive files; None if the folder cannot be listed."""


def is_url(path: object) -> TypeGuard[str]:
    """Whether an input is a URL and no local path."""
    return isinstance(path, str) and _URL.match(path) is not None


class RemotePlace:
    """Where an archive lies behind a URL: a folder, or one archive file, by whether its path ends as those do."""

    def __init__(self, url: str) -> None:
        head, mark, query = url.partition("?") if _is_http(url) else (url, "", "")
        self.is_folder = not head.endswith(ARCHIVE_SUFFIX)
        base, _, name = (head, "", "") if self.is_folder else head.rpartition("/")
        self._name = unquote(name) if _is_http(url) else name
        self._folder = _open_folder(base.rstrip("/"), mark + query)

    @property
    def shown(self) -> str:
        return self._folder.shown if self.is_folder else f"{self._folder.shown}/{self._name}"

    def open_files(self) -> list[ArchiveFile]:
        """Open the archive files, those nearest the top first.

        Of a folder that cannot be listed: model.tersor.safetensors or the shards that the shard index names, and what
            the primary among them names.
        Raises: UsageError, TransferError, CorruptError, NewerFormatError.
        """
        if not self.is_folder:
            return [self._open(self._name)]
        listed = self._folder.archive_files()
        if listed is not None:
            return [self._open(relative) for relative in self._checked(listed)]
        opened = {file.name: file for file in self._first_files()}
        for file in list(opened.values()):
            named = file.index.folder.archives if file.index.folder is not None else []
            for relative in self._checked([record.path for record in named]):
                if relative not in opened:
                    opened[relative] = self._open(relative)
        return [opened[relative] for relative in sorted(opened, key=nearest_first)]

    def chunks(self, relative: str) -> Iterator[bytes]:
        """Yield the bytes of a file beside the archive files."""
        file = self._folder.file(relative)
        front, n_bytes = file.first(HEAD_GUESS_BYTES)
        yield front
        for begin in range(len(front), n_bytes, MAX_RUN_BYTES):
            yield file.fetch(begin, min(begin + MAX_RUN_BYTES, n_bytes))

    def _open(self, relative: str) -> ArchiveFile:
        return ArchiveFile(RemoteRanges(self._folder.file(relative), relative))

    def _checked(self, paths: list[str]) -> list[str]:
        """Return the paths in order. Raises CorruptError, UsageError."""
        check_paths(paths)
        for path in paths:
            if not path.endswith(ARCHIVE_SUFFIX):
                raise CorruptError(f"{self.shown}: archive file {path!r} does not end in {ARCHIVE_SUFFIX}")
        if len(paths) > MAX_REMOTE_FILES:
            raise UsageError(
                f"{self.shown}: {len(paths)} archive files, each of which takes a request; "
                f"at most {MAX_REMOTE_FILES} are opened over a URL; fetch the folder and open the copy"
            )
        return sorted(paths, key=nearest_first)

    def _first_files(self) -> list[ArchiveFile]:
        try:
            return [self._open(_SINGLE)]
        except NotThereError:
            return [self._open(relative) for relative in self._checked(self._shards())]

    def _shards(self) -> list[str]:
        """Return the archive files that the shard index names."""
        try:
            data = self._shard_index()
        except NotThereError as exc:
            raise UsageError(
                f"{self.shown}: neither {_SINGLE} nor {_SHARD_INDEX} is there ({exc}), and the folder "
                f"cannot be listed; give the URL of its file *{ARCHIVE_SUFFIX}"
            ) from exc
        try:
            shards = json.loads(data)["weight_map"].values()
        except (ValueError, LookupError, TypeError, AttributeError, RecursionError) as exc:
            raise CorruptError(f"{self.shown}: {_SHARD_INDEX} has no weight_map; fetch it again") from exc
        names = set(shards) if all(isinstance(name, str) for name in shards) else set()
        if not names:
            raise CorruptError(f"{self.shown}: {_SHARD_INDEX} names no shards; fetch it again")
        return sorted(names)

    def _shard_index(self) -> bytes:
        data = b""
        for chunk in self.chunks(_SHARD_INDEX):
            data += chunk
            if len(data) > _MAX_SHARD_INDEX_BYTES:
                raise CorruptError(
                    f"{self.shown}: {_SHARD_INDEX} has more than {_MAX_SHARD_INDEX_BYTES} bytes; it is no shard index"
                )
        return data


def _is_http(url: str) -> bool:
    return url.lower().startswith(("http://", "https://"))


def _open_folder(base: str, query: str) -> RemoteFolder:
    # Imported here: http.client and ssl take longer to import than all the rest of the archive.
    if _is_http(base):
        from tersor.archive.http import HttpFolder

        return HttpFolder(base, query)
    from tersor.archive.cloud import FsspecFolder

    return FsspecFolder(base)
