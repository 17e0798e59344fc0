"""What an interrupted run had measured, so that another one need not do it again."""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from hashlib import sha256
from pathlib import Path
from typing import TYPE_CHECKING

from tersor.archive.writer import producer_name
from tersor.calibrate.cache import cache_folder, cache_limit
from tersor.errors import TersorError, UsageError

if TYPE_CHECKING:
    from tersor.pipeline.job import Job


def open_journal(job: Job, *, resume: bool) -> Journal:
    """The journal of a job: in the cache, named by what the result depends on."""
    files = [(entry.relative, entry.n_bytes, entry.path.stat().st_mtime_ns) for entry in job.weights.files]
    known = [
        producer_name(),
        job.recipe.to_dict(),
        files,
        str(job.checkpoint.root.resolve()),
        _digest(job.recipe.calibration),
    ]
    key = sha256(json.dumps(known, default=str, sort_keys=True).encode()).hexdigest()
    path = None if cache_limit() == 0 else cache_folder().with_name("compress") / f"{key}.json"
    return Journal(path, key, resume=resume)


class Journal:
    """Figures by name, in a file; each is on disk before the next is measured.

    path: None: nothing is kept. resume: read what an earlier run left; False: begin anew.
    A file that is damaged, or of another run (see `key`), counts as empty: figures are measured again.
    """

    def __init__(self, path: Path | None, key: str, *, resume: bool) -> None:
        self._path = path
        self._key = key
        self._figures: dict[str, float] = _read(path, key) if path is not None and resume else {}

    def remember(self, name: str, measure: Callable[[], float]) -> float:
        """The figure of that name; measured if it is not known."""
        if name not in self._figures:
            self._figures[name] = measure()
            self._write()
        return self._figures[name]

    def forget(self) -> None:
        """Measure everything anew from here on."""
        self._figures.clear()

    @contextmanager
    def until_decided(self) -> Iterator[None]:
        """Delete the file at the end, or when the work turns out to be impossible; not when it is interrupted."""
        try:
            yield
        except TersorError:
            self.finish()
            raise
        self.finish()

    def finish(self) -> None:
        """Delete the file."""
        if self._path is not None:
            self._path.unlink(missing_ok=True)

    def _write(self) -> None:
        if self._path is None:
            return
        temporary = self._path.with_name(f"{self._path.name}.{os.getpid()}.tmp")  # of this run alone
        try:
            self._path.parent.mkdir(parents=True, exist_ok=True)
            temporary.write_text(json.dumps({"key": self._key, "figures": self._figures}), encoding="utf-8")
            temporary.replace(self._path)
        except OSError:
            # The work goes on without: what is lost is a shorter way for a run that resumes this one.
            with suppress(OSError):
                temporary.unlink()
            self._path = None


def _digest(text: str | None) -> str | None:
    """Hash of the calibration text. Raises: UsageError if it cannot be read."""
    if text is None:
        return None
    try:
        return sha256(Path(text).read_bytes()).hexdigest()
    except OSError as exc:
        raise UsageError(f"calibration text {text}: {exc.strerror}; give a UTF-8 text file") from exc


def _read(path: Path, key: str) -> dict[str, float]:
    try:
        kept = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    if not isinstance(kept, dict) or kept.get("key") != key or not isinstance(kept.get("figures"), dict):
        return {}
    return {str(n): v for n, v in kept["figures"].items() if isinstance(v, int | float)}
