"""Load each model in turn and measure it against the first."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from os import PathLike
from typing import Any

from tersor.errors import MissingExtraError, UsageError
from tersor.evaluate.data import read_data
from tersor.evaluate.size import weight_bytes
from tersor.evaluate.task import TASKS, EvaluationResult, ModelResult, Task

Path = str | PathLike[str]
# (path, name of the transformers class) -> (model, names of the weights that the folder lacks)
Loader = Callable[[Path, str], tuple[Any, list[str]]]
Progress = Callable[[int, int, str], None]


def evaluate(
    paths: Path | Sequence[Path],
    *,
    task: str,
    data: Path | None = None,
    seed: int = 0,
    loader: Loader | None = None,
    progress: Progress | None = None,
) -> EvaluationResult:
    """Figures of every model in `paths` on one task, the first being the original that others are compared with.

    paths: Hugging Face folders and tersor archives, at least one. The first one's tokenizer serves all.
    task: a name in TASKS. data: a UTF-8 text file; None: the half of CPython's documentation that calibration
    does not see. seed: chooses sentences. loader: how to load a model, `tersor.load.load_checked` if None.
    progress: called with (models done, models in all, what is being measured).
    The original and one other model are in memory at a time. Nothing is downloaded, torch's threads are left alone.
    Raises: UsageError, UnknownNameError (task), MissingExtraError, CorruptError.
    """
    folders = [paths] if isinstance(paths, (str, PathLike)) else list(paths)
    if not folders:
        raise UsageError(
            "evaluate: no model given; needed: the original's path, then those to compare with it"
        )
    if task not in TASKS:
        TASKS.get(task)  # raises, naming the nearest
    # All arguments are checked before torch is imported or a model is loaded.
    text = read_data(data)
    sizes = [weight_bytes(folder) for folder in folders]
    chosen = _task(task)
    tell = progress or _silent
    tokenizer = _tokenizer(folders[0])
    load = loader or _load
    original: Any = None
    models = []
    for index, (folder, n_bytes) in enumerate(zip(folders, sizes, strict=True)):
        tell(index, len(folders), str(folder))
        model = _complete_model(load, folder, chosen, task)
        if original is None:
            original = model
        metrics = chosen.measure(model, original, tokenizer, text, seed)
        models.append(ModelResult(str(folder), n_bytes, tuple(metrics)))
        del model
    tell(len(folders), len(folders), "")
    return EvaluationResult(task, text.name, seed, tuple(models))


def _task(name: str) -> Task:
    try:
        return TASKS.get(name)
    except ModuleNotFoundError as exc:
        raise MissingExtraError(
            f"task {name!r} needs {exc.name}, which is not installed; run: pip install 'tersor[torch]'"
        ) from exc


def _tokenizer(folder: Path) -> Any:
    from tersor.evaluate.tokens import load_tokenizer

    return load_tokenizer(folder)


def _load(folder: Path, auto_class: str) -> tuple[Any, list[str]]:
    from tersor.load import load_checked

    return load_checked(folder, auto_class)


def _complete_model(load: Loader, folder: Path, task: Task, name: str) -> Any:
    model, missing = load(folder, task.auto_class)
    if missing and task.needs_every_weight:
        shown = ", ".join(missing[:3]) + (", ..." if len(missing) > 3 else "")
        raise UsageError(
            f"{folder}: no weights for {shown}; task {name!r} needs a complete {task.auto_class}, "
            "and would measure random weights here; choose another task"
        )
    return model


def _silent(_done: int, _total: int, _what: str) -> None:
    """Report nothing."""
