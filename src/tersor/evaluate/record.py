"""Write what was measured into the history of the archives that were measured."""

from __future__ import annotations

import fcntl
import json
import math
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from tersor.errors import UsageError
from tersor.evaluate.result import EvaluationResult
from tersor.history import FILE_NAME, MAX_ENTRIES, entry, read_history
from tersor.output import OutputFile
from tersor.sources.folder import ARCHIVE_SUFFIX


def record_result(result: EvaluationResult) -> list[Path]:
    """Append an evaluation to the history of each archive in it; return the archives' folders.

    Each entry holds the original and the archive itself. Only the history's file is replaced, in one rename.
    Raises: UsageError if no model is an archive; CorruptError, OutputError.
    """
    whole: dict[str, Any] = plain(result.to_json())
    archives = [model for model in whole["models"] if is_archive(Path(model["path"]))]
    if not archives:
        raise UsageError(
            "--record: none of the models is an archive of tersor, so there is no history to add to"
        )
    original = whole["models"][0]
    for model in archives:
        models = [original] if model is original else [original, model]
        append(Path(model["path"]), entry("evaluate", **{**whole, "models": models}))
    return [Path(model["path"]) for model in archives]


def append(folder: Path, added: Mapping[str, Any]) -> None:
    """Add one entry to the end of a folder's history. Raises: UsageError if it is full, CorruptError, OutputError."""
    lock = os.open(folder, os.O_RDONLY)
    try:
        fcntl.flock(lock, fcntl.LOCK_EX)
        entries = [*read_history(folder), added]
        if len(entries) > MAX_ENTRIES:
            raise UsageError(
                f"{folder / FILE_NAME}: is full ({MAX_ENTRIES:,} entries); move it away to begin a new one"
            )
        with OutputFile(folder / FILE_NAME, force=True) as file:
            file.write((json.dumps(entries, indent=1, allow_nan=False) + "\n").encode())
    finally:
        os.close(lock)


def plain(value: Any) -> Any:
    """`value` as JSON holds it: tuples as lists, NaN and infinity as None."""
    if isinstance(value, Mapping):
        return {str(key): plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [plain(item) for item in value]
    if isinstance(value, float):
        return float(value) if math.isfinite(value) else None
    return value


def is_archive(path: Path) -> bool:
    """Whether a path is a folder with an archive of tersor in it."""
    return path.is_dir() and any(path.glob(f"*{ARCHIVE_SUFFIX}"))
