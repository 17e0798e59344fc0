"""An output folder or file that appears whole or not at all, even after kill -9.

Everything is written into a hidden sibling, `.NAME.tersor-PID-RANDOM.tmp`, and renamed at the end. The
process that owns a sibling holds a lock on it, so the next run can tell what a killed run left behind.
Replacing with --force first moves the old output to `.NAME.tersor-PID-RANDOM.old`; a run that finds such
a leftover puts it back if the new output had not arrived, and removes it if it had.
"""

from __future__ import annotations

import errno
import fcntl
import os
import re
import secrets
import shutil
from abc import ABC, abstractmethod
from collections.abc import Iterable, Sequence
from contextlib import suppress
from pathlib import Path
from types import TracebackType
from typing import BinaryIO

from tersor.errors import OutputError, OutputExistsError, UsageError
from tersor.sources.folder import ARCHIVE_SUFFIX

# Only a write fails with these; others count when they name a path inside the output.
_WRITE_ERRNOS = frozenset({errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EROFS})


class _Output(ABC):
    """What folders and files share: checks, the hidden sibling, its lock, recovery, the final rename."""

    def __init__(self, path: Path | str, *, force: bool = False, inputs: Sequence[Path | str] = ()) -> None:
        self.path = Path(path)
        self.force = force
        self.needed_bytes: int | None = None
        """Set it when known; it then appears in the message of a full disk."""
        _check_name(self.path)
        self._parent = Path(os.path.realpath(self.path.parent))
        self._target = self._parent / self.path.name
        _check_apart(self._target, inputs)
        _check_parent(self._parent, self.path)
        try:
            _recover(self._target)
            self._check_replaceable()
        except OSError as exc:
            raise self._explain(exc) from exc
        self._temporary = _sibling(self._target, "tmp")
        self._lock: int | None = None

    @abstractmethod
    def _check_replaceable(self) -> None:
        """Raise OutputExistsError if the target exists and may not be replaced."""

    @abstractmethod
    def _commit(self) -> None:
        """Make the temporary durable and give it the target's name."""

    def reserve(self, n_bytes: int) -> None:
        """Note that about n_bytes will be written. Raises OutputError if the disk has less free space."""
        self.needed_bytes = n_bytes
        free = shutil.disk_usage(self._parent).free
        if n_bytes > free:
            raise OutputError(
                f"{self.path}: needs about {n_bytes} bytes, {self._parent} has {free} free; free some space"
            )

    def _begin(self) -> None:
        try:
            self._create()
            self._lock = _lock(self._temporary)
        except BaseException as exc:
            _remove(self._temporary)
            if isinstance(exc, OSError):
                raise self._explain(exc) from exc
            raise

    @abstractmethod
    def _create(self) -> None:
        """Make the temporary, empty."""

    def _end(self, error: BaseException | None) -> None:
        """Commit if `error` is None, else remove what was written; translate errors of writing."""
        try:
            if error is None:
                self._check_replaceable()  # someone may have made it meanwhile
                self._commit()
        except OSError as exc:
            raise self._explain(exc) from exc
        finally:
            _remove(self._temporary)
            if self._lock is not None:
                os.close(self._lock)
                self._lock = None
        if isinstance(error, OSError) and self._is_ours(error):
            raise self._explain(error) from error

    def _is_ours(self, error: OSError) -> bool:
        if error.errno in _WRITE_ERRNOS:
            return True
        named = [name for name in (error.filename, error.filename2) if isinstance(name, (str, os.PathLike))]
        return any(Path(name).is_relative_to(self._temporary) for name in named)

    def _explain(self, error: OSError) -> OutputError:
        needed = f" (about {self.needed_bytes} bytes needed)" if self.needed_bytes is not None else ""
        return OutputError(
            f"{self.path}: cannot be written: {error.strerror or error}{needed}; nothing was left behind; "
            f"free space in {self._parent}, mend its permissions, or choose another place"
        )


class OutputFolder(_Output):
    """`with OutputFolder(path) as folder:` write into `folder` (a Path); it becomes `path` at the end.

    force: replace an existing output. Rule: only an empty folder, or a folder with a *.tersor.safetensors
        file at its top, is ever replaced; never a git work tree, a mount point, the home folder, or one
        that the current directory lies in. An empty folder too needs force.
    inputs: paths that are read meanwhile; the output may not be, contain or lie inside any of them.
    All checks happen in the constructor, before any work.
    Guarantee: at every moment, kill -9 included, `path` is absent (or the old output) or the whole new
        output, made durable by fsync; one exception: a kill between the two renames of a replacement
        leaves it absent until the next run puts the old output back.
    Raises: OutputExistsError, UsageError (place or name that cannot work), OutputError (disk full,
        permissions; also for such an OSError raised in the body). Any exception removes what was written.
    """

    def __enter__(self) -> Path:
        self._begin()
        return self._temporary

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._end(error)

    def _create(self) -> None:
        self._temporary.mkdir()

    def _check_replaceable(self) -> None:
        if not os.path.lexists(self._target):
            return
        if not self.force:
            raise OutputExistsError(
                f"{self.path}: exists already; use --force to replace it, or choose another name"
            )
        obstacle = _why_not_replaceable(self._target)
        if obstacle:
            raise OutputExistsError(
                f"{self.path}: {obstacle}, so --force does not replace it; "
                "remove it yourself or choose another name"
            )

    def _commit(self) -> None:
        _sync_tree(self._temporary)
        if os.path.lexists(self._target):
            self._exchange()
        else:
            os.rename(self._temporary, self._target)
        _sync(self._parent)

    def _exchange(self) -> None:
        """Put the temporary in the target's place and remove the old target."""
        old = _sibling(self._target, "old")
        lock = _lock(self._target)
        try:
            os.rename(self._target, old)
            os.rename(self._temporary, self._target)
        except BaseException:
            if not os.path.lexists(self._target):
                os.rename(old, self._target)
            raise
        finally:
            os.close(lock)
        _remove(old)


class OutputFile(_Output):
    """`with OutputFile(path) as file:` write to `file` (binary, seekable); it becomes `path` at the end.

    force: replace an existing regular file (a link to one: the link). Otherwise as `OutputFolder`;
        the replacement is one rename, so `path` is never absent in between.
    """

    _file: BinaryIO

    def __enter__(self) -> BinaryIO:
        self._begin()
        return self._file

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        try:
            if error is None:
                self._file.flush()
        except OSError as exc:
            error = exc
        _close_quietly(self._file)
        self._end(error)

    def _create(self) -> None:
        self._file = open(self._temporary, "x+b")  # noqa: SIM115 (closed in __exit__)

    def _check_replaceable(self) -> None:
        if not os.path.lexists(self._target):
            return
        if not self.force:
            raise OutputExistsError(
                f"{self.path}: exists already; use --force to replace it, or choose another name"
            )
        if not (self._target.is_file() or self._target.is_symlink()):
            raise OutputExistsError(
                f"{self.path}: is no regular file, so --force does not replace it; choose another name"
            )

    def _commit(self) -> None:
        _sync(self._temporary)
        os.replace(self._temporary, self._target)
        _sync(self._parent)


def _check_name(path: Path) -> None:
    if path.name in ("", "..") or "\0" in str(path):
        raise UsageError(
            f"{str(path)!r}: is no name for an output; give a new folder or file, such as out/small"
        )


def _check_parent(parent: Path, path: Path) -> None:
    if not parent.is_dir():
        raise UsageError(f"{path}: the folder {parent} does not exist; create it first")
    if not os.access(parent, os.W_OK | os.X_OK):
        raise OutputError(
            f"{path}: the folder {parent} is not writable; mend its permissions or choose another place"
        )


def _check_apart(target: Path, inputs: Iterable[Path | str]) -> None:
    """Raise UsageError if the output is, contains or lies inside an input."""
    resolved = Path(os.path.realpath(target))
    for given in inputs:
        source = Path(os.path.realpath(given))
        if resolved == source or resolved.is_relative_to(source) or source.is_relative_to(resolved):
            raise UsageError(f"{target}: the output overlaps the input {given}; choose a place outside it")


def _why_not_replaceable(folder: Path) -> str:
    """Return why --force must leave this alone, or "" if it may replace it.

    folder: absolute, its parent without symbolic links.
    """
    if folder.is_symlink():
        return "is a symbolic link"
    if not folder.is_dir():
        return "is not a folder"
    if os.path.ismount(folder):
        return "is a mount point"
    if Path(os.path.realpath(".")).is_relative_to(folder):
        return "holds the current directory"
    if folder == Path(os.path.realpath(os.path.expanduser("~"))):
        return "is the home folder"
    names = os.listdir(folder)
    if ".git" in names:
        return "is a git work tree"
    if names and not any(name.endswith(ARCHIVE_SUFFIX) and (folder / name).is_file() for name in names):
        return f"is a folder without a *{ARCHIVE_SUFFIX} file"
    return ""


def _sibling(target: Path, suffix: str) -> Path:
    return target.parent / f".{target.name}.tersor-{os.getpid()}-{secrets.token_hex(4)}.{suffix}"


def _recover(target: Path) -> None:
    """Put back or remove what killed runs left beside `target`; leave what a living run owns."""
    pattern = re.compile(rf"\.{re.escape(target.name)}\.tersor-(\d+)-[0-9a-f]{{8}}\.(tmp|old)")
    for name in sorted(os.listdir(target.parent)):
        match = pattern.fullmatch(name)
        if not match or not _is_abandoned(target.parent / name, int(match[1])):
            continue
        if match[2] == "old" and not os.path.lexists(target):
            os.rename(target.parent / name, target)
        else:
            _remove(target.parent / name)


def _is_abandoned(path: Path, pid: int) -> bool:
    """Return whether no living run owns a sibling.

    A living owner holds the lock. The process id is asked too: a run that has just made its sibling has
    no lock yet, and some network file systems have no locks. Our own id counts as dead, since
    containers start every run under the same id; what we own ourselves is locked.
    """
    if pid != os.getpid() and _is_alive(pid):
        return False
    try:
        os.close(_lock(path))
    except BlockingIOError:
        return False
    except FileNotFoundError:  # another run has just removed it
        return False
    return True


def _is_alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except (ProcessLookupError, OverflowError):
        return False
    except PermissionError:
        return True
    return True


def _lock(path: Path) -> int:
    """Return a file descriptor that locks a file or folder. Raises BlockingIOError if it is locked."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        os.close(descriptor)
        raise
    except OSError:
        return descriptor  # a file system without locks: the process id has to do
    return descriptor


def _remove(path: Path) -> None:
    """Remove a file or folder if it is there; what cannot be removed is left to the next run."""
    if os.path.isdir(path) and not os.path.islink(path):
        shutil.rmtree(path, ignore_errors=True)
        return
    with suppress(OSError):
        os.unlink(path)


def _close_quietly(file: BinaryIO) -> None:
    """Close a file whose content no longer matters, or is flushed already."""
    with suppress(OSError):
        file.close()


def _sync(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _sync_tree(folder: Path) -> None:
    """Make every file and folder below durable, the innermost first."""
    for parent, _, names in os.walk(folder, topdown=False):
        for name in names:
            path = Path(parent, name)
            if not path.is_symlink():
                _sync(path)
        _sync(Path(parent))
