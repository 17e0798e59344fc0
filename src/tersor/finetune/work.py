"""The folder beside the output in which a run keeps what it has done, so that a killed one can go on.

`.OUT.finetune/`: `run.json` says what the run is; a stage that is finished has `STAGE.json` beside its results. All of
it is removed when the output is in its place.
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from tersor.errors import UsageError

_RUN = "run.json"


class WorkFolder:
    """Stages of one run. resume: go on with what is there; else it is removed.

    identity: plain values that tell this run from others.
    Raises: UsageError if another run with `resume` left its work here, or the place is taken by something else.
    """

    def __init__(self, output: Path, identity: Mapping[str, Any], *, resume: bool) -> None:
        self.path = output.parent / f".{output.name}.finetune"
        self._identity = json.loads(json.dumps(identity, sort_keys=True))
        if self.path.exists():
            self._take_over(output, resume)
        self.path.mkdir(exist_ok=True)
        _write(self.path / _RUN, self._identity)

    def _take_over(self, output: Path, resume: bool) -> None:
        record = self.path / _RUN
        if not record.is_file():
            if any(self.path.iterdir()):
                raise UsageError(f"{self.path}: is in the way and not ours; move it away")
            return
        if not resume:
            shutil.rmtree(self.path)
            return
        found = _read(record)
        if found != self._identity:
            differing = sorted(
                key for key in {*self._identity, *found} if self._identity.get(key) != found.get(key)
            )
            raise UsageError(
                f"{output}: the interrupted run had other arguments ({', '.join(differing)}); repeat it with the same, "
                "or leave --resume out to start anew"
            )

    def done(self, stage: str) -> dict[str, Any] | None:
        """What a finished stage recorded; None if it is not finished."""
        path = self.path / f"{stage}.json"
        return _read(path) if path.is_file() else None

    def finish(self, stage: str, record: Mapping[str, Any]) -> dict[str, Any]:
        """Record that a stage is finished; its Trainer checkpoints go. Returns the record as `done` gives it."""
        _write(self.path / f"{stage}.json", record)
        shutil.rmtree(self.path / f"{stage}-checkpoints", ignore_errors=True)
        return _read(self.path / f"{stage}.json")

    def checkpoints(self, stage: str) -> Path:
        """Where a stage's Trainer keeps its checkpoints."""
        return self.path / f"{stage}-checkpoints"

    def fresh(self, name: str) -> Path:
        """An empty folder for a stage's results; what an interrupted run left there is removed."""
        folder = self.path / name
        if folder.exists():
            shutil.rmtree(folder)
        folder.mkdir()
        return folder

    def remove(self) -> None:
        """Delete everything."""
        shutil.rmtree(self.path)


def digest_of(files: Iterable[Path]) -> str:
    """SHA-256 over the bytes of files, in their order."""
    digest = hashlib.sha256()
    for file in files:
        for path in sorted(file.rglob("*")) if file.is_dir() else [file]:
            if path.is_file():
                digest.update(path.read_bytes())
    return digest.hexdigest()


def _write(path: Path, value: Mapping[str, Any]) -> None:
    """Whole or not at all: a killed run must not leave half a record."""
    temporary = path.with_name(f"{path.name}.tmp")
    temporary.write_text(json.dumps(value, sort_keys=True), encoding="utf-8")
    os.replace(temporary, path)


def _read(path: Path) -> dict[str, Any]:
    value: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    return value
