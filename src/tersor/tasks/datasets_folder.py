"""Folders that `datasets` saved (`Dataset.save_to_disk`)."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from tersor.errors import MissingExtraError, UsageError
from tersor.tasks.conll import RawSentence
from tersor.tasks.jsonl import TAG_KEYS, WORD_KEYS, checked_sentence, strings


def load_dataset(folder: Path) -> Any:
    """The `datasets.Dataset` of a folder, memory-mapped. Raises: UsageError, MissingExtraError."""
    try:
        import datasets
    except ModuleNotFoundError as exc:
        raise MissingExtraError(
            f"{folder}: reading it needs `datasets`, which is not installed; run: pip install 'tersor[eval]'"
        ) from exc
    try:
        found = datasets.load_from_disk(str(folder))
    except (OSError, ValueError, LookupError, TypeError) as exc:
        raise UsageError(
            f"{folder}: `datasets` cannot load it ({exc}); needed: a data set with rows, saved by save_to_disk"
        ) from exc
    if len(found) == 0:
        raise UsageError(f"{folder}: the data set has no rows; needed: data to work on")
    return found


def read_dataset_ner(folder: Path) -> list[RawSentence]:
    """Sentences of a saved data set with columns tokens and ner_tags (or words; tags, labels).

    Tags are strings, or numbers whose names the column's ClassLabel holds. Raises: UsageError, MissingExtraError.
    """
    dataset = load_dataset(folder)
    words_column = _column(dataset, WORD_KEYS, folder)
    tags_column = _column(dataset, TAG_KEYS[1:] + TAG_KEYS[:1], folder)
    names = class_names(dataset.features[tags_column])
    sentences = []
    for row, value in enumerate(dataset.select_columns([words_column, tags_column]), start=1):
        place = f"{folder}, row {row}"
        words = strings(value[words_column], "tokens", place)
        tags = _named(value[tags_column], names, place)
        sentences.append(checked_sentence(words, tags, place, row))
    return sentences


def class_names(feature: Any) -> list[str] | None:
    """The names of a ClassLabel, or of a list of them; None for another feature."""
    inner = getattr(feature, "feature", feature)
    names = getattr(inner, "names", None)
    return [str(name) for name in names] if names else None


def _named(values: object, names: list[str] | None, place: str) -> list[str]:
    if names is None or not isinstance(values, list):
        return strings(values, "tags", place)
    wrong = next(
        (value for value in values if not isinstance(value, int) or not 0 <= value < len(names)), None
    )
    if wrong is not None:
        raise UsageError(f"{place}: tag number {wrong}; the column has names for 0 to {len(names) - 1}")
    return [names[value] for value in values]


def _column(dataset: Any, names: tuple[str, ...], folder: Path) -> str:
    found = next((name for name in names if name in dataset.column_names), None)
    if found is None:
        raise UsageError(
            f"{folder}: no column {' or '.join(map(repr, names))}; has {list(dataset.column_names)[:10]}"
        )
    return found
