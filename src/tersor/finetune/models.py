"""Loading a model with the head that a task needs, and writing a trained one as a plain checkpoint."""

from __future__ import annotations

import logging
import shutil
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from tersor.archive.folder import CONFIG_NAME, LOADED_NAMES
from tersor.errors import MissingExtraError, UsageError
from tersor.finetune.data import Task
from tersor.sources.folder import Checkpoint, scan

_NAMED_HEADS = {"ner": "ForTokenClassification", "classification": "ForSequenceClassification"}


@dataclass(frozen=True, slots=True)
class Loaded:
    """A model in float32 and training order, its tokenizer, and the parameters that its folder did not hold."""

    model: Any
    tokenizer: Any
    missing: tuple[str, ...]


def require_training() -> None:
    """Raise MissingExtraError unless what trains is installed; called before any work."""
    try:
        import accelerate
        import transformers
    except ImportError as exc:
        raise MissingExtraError(
            f"fine-tuning needs torch, transformers and accelerate ({exc}); run: pip install 'tersor[torch]'"
        ) from exc
    del accelerate, transformers


def is_archive(folder: Path) -> bool:
    """Whether a folder holds an archive that models load from."""
    return any((folder / name).is_file() for name in LOADED_NAMES)


def require_model(folder: Path) -> None:
    """Raise UsageError unless a folder holds a model: of a plain checkpoint or of an archive."""
    if not (folder / CONFIG_NAME).is_file():
        raise UsageError(
            f"{folder}: no config.json here; finetune needs the folder of a Hugging Face model, or an archive of one"
        )


def scan_model(folder: Path) -> Checkpoint:
    """The files of a plain checkpoint. Raises: UsageError if it has no config.json."""
    require_model(folder)
    return scan(folder)


def known_labels(folder: Path, task: Task) -> tuple[str, ...] | None:
    """The labels that a model has been trained for; None if it has no head for the task yet."""
    from transformers import AutoConfig

    config = AutoConfig.from_pretrained(folder, local_files_only=True)
    ending = _NAMED_HEADS.get(task.name)
    if ending is None or not any(str(name).endswith(ending) for name in config.architectures or ()):
        return None
    names = config.id2label or {}
    return tuple(str(names[number]) for number in sorted(names))


def load_tokenizer(folder: Path) -> Any:
    """The folder's tokenizer. Raises: UsageError if it holds none."""
    from transformers import AutoTokenizer

    try:
        return AutoTokenizer.from_pretrained(folder, local_files_only=True)
    except (OSError, ValueError) as exc:
        raise UsageError(f"{folder}: fine-tuning needs the model's tokenizer: {exc}") from exc


def pad_id(tokenizer: Any) -> int:
    """What sequences are padded with; attention never sees it."""
    for number in (tokenizer.pad_token_id, tokenizer.eos_token_id):
        if number is not None:
            return int(number)
    return 0


def load_for_task(folder: Path, task: Task, labels: Sequence[str], *, seed: int) -> Loaded:
    """The model with the task's head, which starts from the seed if the folder holds none.

    Raises: UsageError for an architecture without such a head.
    """
    import transformers

    options: dict[str, Any] = {}
    if labels:
        options = {
            "num_labels": len(labels),
            "id2label": dict(enumerate(labels)),
            "label2id": {label: number for number, label in enumerate(labels)},
        }
    transformers.set_seed(seed)
    model_class = getattr(transformers, task.auto_class)
    try:
        with _quiet_loading():
            model, report = model_class.from_pretrained(
                folder, local_files_only=True, output_loading_info=True, dtype=torch.float32, **options
            )
    except ValueError as exc:
        raise UsageError(f"{folder}: no model for task {task.name!r} can be made of it: {exc}") from exc
    if report["mismatched_keys"]:
        name = sorted(str(key[0]) for key in report["mismatched_keys"])[0]
        raise UsageError(
            f"{folder}: its {name} does not fit {len(labels)} labels; fine-tune the model it was made from"
        )
    missing = tuple(sorted(report["missing_keys"]))
    return Loaded(model, load_tokenizer(folder), missing)


def save_plain(loaded: Loaded, source: Checkpoint, folder: Path, dtype: torch.dtype) -> None:
    """Write a plain checkpoint: weights in `dtype`, config.json with the labels, the source's other side files."""
    loaded.model.to(dtype).save_pretrained(folder)
    written = {path.name for path in folder.iterdir()}
    for entry in source.with_role("side"):
        target = folder / entry.relative
        if entry.relative not in written and not entry.relative.endswith(".index.json"):
            target.parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(entry.path, target)


def stored_dtype(folder: Path) -> torch.dtype:
    """The float type that config.json says the weights are in; float32 if it says none."""
    from transformers import AutoConfig

    found = AutoConfig.from_pretrained(folder, local_files_only=True).dtype
    return found if isinstance(found, torch.dtype) else torch.float32


@contextmanager
def _quiet_loading() -> Iterator[None]:
    """transformers' report of a new head, which is what was asked for, is kept from the user."""
    logger = logging.getLogger("transformers")
    before = logger.level
    logger.setLevel(logging.ERROR)
    try:
        yield
    finally:
        logger.setLevel(before)
