"""Statistics on disk, so that a second compression of the same model at another size starts at once.

An entry is a folder named by the hash of everything that statistics depend on: the model's bytes and configuration, the
token ids, the settings, this package's own source, torch and the processor's vector level. It appears whole (written
beside, then renamed) and is checked before use: a damaged entry is computed again, with a message. Entries used least
recently are deleted when all together exceed the limit. An interrupted calibration goes on where it was. Who computes
or deletes an entry holds its lock, an empty file beside it that stays: deleted, it could be locked twice.

The folder is $TERSOR_CACHE, else $XDG_CACHE_HOME/tersor, else ~/.cache/tersor; the limit is $TERSOR_CACHE_BYTES, else
8 GiB (0: no cache). Deleting the folder is always safe while nothing compresses.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from pathlib import Path

from torch import nn

from tersor.calibrate.cache_entry import read_entry, write_entry
from tersor.calibrate.cache_key import cache_key
from tersor.calibrate.objective import EncoderOutput
from tersor.calibrate.statistics import Statistics
from tersor.calibrate.text import CalibrationText
from tersor.calibrate.walk import Progress, collect
from tersor.errors import CorruptError, UsageError

DEFAULT_LIMIT_BYTES = 8 << 30
# An entry used this recently may be open in another process: its files must stay.
IN_USE_SECONDS = 3600.0
_PARTIAL = ".partial"
_LOCK = ".lock"

Say = Callable[[str], None]


def cache_folder() -> Path:
    """Where statistics are kept; need not exist."""
    chosen = os.environ.get("TERSOR_CACHE")
    if chosen:
        return Path(chosen) / "statistics"
    base = os.environ.get("XDG_CACHE_HOME")
    return (Path(base) if base else Path.home() / ".cache") / "tersor" / "statistics"


def cache_limit() -> int:
    """Bytes that all entries may take together. Raises: UsageError if $TERSOR_CACHE_BYTES is no number."""
    chosen = os.environ.get("TERSOR_CACHE_BYTES")
    if not chosen:
        return DEFAULT_LIMIT_BYTES
    if not chosen.isdecimal():
        raise UsageError(f"TERSOR_CACHE_BYTES={chosen!r} is no number of bytes; needed: 0 (no cache) or more")
    return int(chosen)


def collect_cached(
    model: nn.Module,
    text: CalibrationText,
    spool: Path,
    *,
    seed: int = 0,
    unused: Sequence[int] = (),
    with_gradients: bool = True,
    encoder_output: EncoderOutput = "pooled",
    threads: int = 1,
    progress: Progress | None = None,
    say: Say | None = None,
    folder: Path | None = None,
) -> Statistics:
    """`collect`, or what an earlier call with the same model, text and settings found: the same to the last bit.

    spool: an empty folder, used instead of the cache if there is none, another process works on the same entry, or the
        cache cannot be written. folder: the cache; None: `cache_folder()`.
    say: called with a sentence when something is reused, damaged or not cached.
    Raises: as `collect`.
    """
    tell: Say = say or (lambda sentence: None)
    root = cache_folder() if folder is None else folder
    limit = cache_limit()

    def compute(target: Path) -> Statistics:
        return collect(
            model,
            text,
            target,
            seed=seed,
            unused=unused,
            with_gradients=with_gradients,
            encoder_output=encoder_output,
            threads=threads,
            progress=progress,
            resumable=target != spool,
        )

    if limit == 0:
        return compute(spool)
    settings = {
        "seed": seed,
        "unused": list(unused),
        "with_gradients": with_gradients,
        "encoder_output": encoder_output,
    }
    entry = root / cache_key(model, text, settings)
    unfinished = entry.with_suffix(_PARTIAL)
    with _locked(entry) as obstacle:
        # Looked for only now: another process may have finished it until we had the lock.
        found = _reuse(entry, tell)
        if found is not None:
            return found
        obstacle = obstacle or _make_folder(unfinished)
        if obstacle is not None:
            tell(f"statistics are not cached: {obstacle}")
            return compute(spool)
        statistics = compute(unfinished)
        write_entry(unfinished, statistics)
        if entry.exists():
            shutil.rmtree(entry)
        unfinished.rename(entry)
        _mark_used(entry)
    make_room(root, limit, keep=entry)
    return read_entry(entry)


def make_room(root: Path, limit: int, keep: Path | None = None) -> list[Path]:
    """Delete the entries used least recently until all fit into `limit` bytes; return those that are gone.

    Never `keep`, nor what a process works in or used within IN_USE_SECONDS. Others may delete entries meanwhile.
    """
    sizes = {path: _n_bytes(path) for path in root.iterdir() if path.is_dir()}
    total = sum(sizes.values())
    gone = []
    for entry in sorted(sizes, key=_last_used):
        if total > limit and entry != keep and _delete_unused(entry):
            total -= sizes[entry]
            gone.append(entry)
    return gone


def _delete_unused(entry: Path) -> bool:
    """Whether the entry is gone now: it stays if a process works in it or used it recently."""
    with _locked(entry) as obstacle:
        if obstacle is not None or time.time() - _last_used(entry) < IN_USE_SECONDS:
            return False
        shutil.rmtree(entry, ignore_errors=True)
        return not entry.exists()


def _last_used(entry: Path) -> float:
    """The time; 0 if another process deleted the entry."""
    try:
        return entry.stat().st_mtime
    except OSError:
        return 0.0


def _reuse(entry: Path, tell: Say) -> Statistics | None:
    if not entry.is_dir():
        return None
    _mark_used(entry)
    try:
        found = read_entry(entry)
    except CorruptError as exc:
        tell(f"cached statistics are damaged ({exc}); computing them again")
        return None
    tell(f"reusing cached statistics {entry.name[:12]}")
    return found


def _mark_used(entry: Path) -> None:
    with contextlib.suppress(OSError):  # a cache that cannot be written can still be read
        os.utime(entry)


def _make_folder(path: Path) -> str | None:
    """Why the folder cannot be made; None if it is there."""
    try:
        path.mkdir(exist_ok=True)
    except OSError as exc:
        return str(exc)
    return None


@contextmanager
def _locked(entry: Path) -> Iterator[str | None]:
    """None inside if this process alone works in the entry, finished or not; else why not."""
    lock_path = entry.with_suffix(_LOCK)
    try:
        lock_path.parent.mkdir(parents=True, exist_ok=True)
        lock = lock_path.open("w")
    except OSError as exc:
        yield str(exc)
        return
    with lock:
        yield None if _lock(lock.fileno()) else "another process computes the same"


def _lock(descriptor: int) -> bool:
    """Whether the file is now ours; the system unlocks it when this process ends, however it ends."""
    if sys.platform == "win32":
        import msvcrt

        lock = partial(msvcrt.locking, descriptor, msvcrt.LK_NBLCK, 1)
    else:
        import fcntl

        lock = partial(fcntl.flock, descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    try:
        lock()
    except OSError:
        return False
    return True


def _n_bytes(folder: Path) -> int:
    """Of the files that are still there: another process may delete some meanwhile."""
    total = 0
    for parent, _, names in os.walk(folder):
        for name in names:
            with contextlib.suppress(OSError):
                total += Path(parent, name).stat().st_size
    return total
