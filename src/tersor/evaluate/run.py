"""Measure models on a task, each beside the first."""

from __future__ import annotations

from collections.abc import Sequence
from os import PathLike
from typing import Any, Unpack

from tersor.errors import MissingExtraError, UsageError
from tersor.evaluate.options import Options, OptionWords
from tersor.evaluate.result import EvaluationResult, compare
from tersor.evaluate.size import weight_bytes
from tersor.evaluate.task import TASKS, Loader, Path, Progress, Setting, Task, no_progress


def evaluate(
    paths: Path | Sequence[Path],
    *,
    task: str,
    data: Path | None = None,
    seed: int = 0,
    loader: Loader | None = None,
    progress: Progress | None = None,
    record: bool = False,
    **options: Unpack[OptionWords],
) -> EvaluationResult:
    """Figures of every model in `paths` on one task, the first being the original that others are compared with.

    paths: Hugging Face folders and tersor archives, at least one. The first one's tokenizer serves all.
    task: a name in TASKS. data: a file, or a folder with splits, in a format of the task; None: for tasks on text the
    half of CPython's documentation that calibration does not see. seed: chooses sentences and the draws of standard
    errors and tests. loader: how to load a model, `tersor.load.load_checked` if None.
    progress: called with (models done, models in all, what is being measured).
    record: append the figures to the history of each archive among `paths` (`tersor inspect` shows it).
    options: see `Options` (split, limit, stride, text_column, label_column, lengths, batch_sizes, rounds).
    Every other model is compared on the same items: difference, its standard error, p-value of a paired test.
    The original and one other model are in memory at a time (speed: all, each in a process of its own). Nothing is
    downloaded, torch's threads are left alone.
    Raises: UsageError, UnknownNameError (task), MissingExtraError, CorruptError.
    """
    folders = [paths] if isinstance(paths, (str, PathLike)) else list(paths)
    if not folders:
        raise UsageError(
            "evaluate: no model given; needed: the original's path, then those to compare with it"
        )
    if task not in TASKS:
        TASKS.get(task)  # raises, naming the nearest
    chosen_options = Options(**options)
    sizes = [weight_bytes(folder) for folder in folders]
    chosen = _task(task)
    # All arguments and all data are checked before a model is loaded.
    read = chosen.read(data, chosen_options)
    tell = progress or no_progress
    measurements = chosen.measure(folders, read, Setting(seed, chosen_options, loader or _load, tell))
    tell(len(folders), len(folders), "")
    result = EvaluationResult(task, read.name, seed, compare([str(f) for f in folders], sizes, measurements))
    if record:
        from tersor.evaluate.record import record_result

        record_result(result)
    return result


def _task(name: str) -> Task:
    try:
        return TASKS.get(name)
    except ModuleNotFoundError as exc:
        extra = "torch" if exc.name in ("torch", "transformers") else "eval"
        raise MissingExtraError(
            f"task {name!r} needs {exc.name}, which is not installed; run: pip install 'tersor[{extra}]'"
        ) from exc


def _load(folder: Path, auto_class: str) -> tuple[Any, list[str]]:
    from tersor.load import load_checked

    return load_checked(folder, auto_class)
