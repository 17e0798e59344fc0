"""A task's files -> sequences of tokens with labels, for training, development and test."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, TypeVar

from tersor.errors import UsageError
from tersor.finetune.features import IGNORED, Feature, TaskData
from tersor.finetune.metrics import measure_classification, measure_ner
from tersor.finetune.settings import Settings
from tersor.registry import did_you_mean
from tersor.tasks import (
    Aligner,
    ClassificationData,
    NerData,
    find_splits,
    labels_of,
    read_classification,
    read_ner,
    read_text,
)

# Without a development split every so many of the training data are held out for it.
HELD_OUT_EVERY = 10
_Item = TypeVar("_Item")


@dataclass(frozen=True, slots=True)
class Task:
    """A kind of model that can be trained.

    auto_class: of transformers. read: (path, tokenizer, settings, labels of the model or None, the model's name).
    """

    name: str
    auto_class: str
    read: Callable[[Path, Any, Settings, Sequence[str] | None, str], TaskData]


def task_of(name: str) -> Task:
    """The task of a name. Raises: UsageError naming the nearest."""
    if name not in TASKS:
        raise UsageError(
            f"no task {name!r} to train for{did_you_mean(name, TASKS)} Tasks: {', '.join(TASKS)}."
        )
    return TASKS[name]


def read_ner_task(
    path: Path, tokenizer: Any, settings: Settings, known: Sequence[str] | None, whose: str
) -> TaskData:
    """Named entities: one label per word, at its first sub-word; long sentences are cut into windows.

    known: the labels of a model that has some; those of the data must be among them. Raises: UsageError.
    """
    splits = _splits(path)
    read = {split: read_ner(file) for split, file in splits.items()}
    labels = tuple(known) if known is not None else _ner_labels(read)
    for data in read.values():
        data.require_labels(labels, whose if known is not None else "the training data")
    aligner = Aligner(tokenizer, settings.max_length, settings.stride)
    windows = {split: _ner_features(data, aligner, labels) for split, data in read.items()}
    train, dev = _with_dev(windows["train"], windows.get("dev"), by_sentence=True)
    texts = [" ".join(sentence.words) for sentence in read["train"].sentences]
    measure = partial(measure_ner, labels)
    return TaskData("token", labels, train, dev, windows.get("test"), "f1", measure, texts)


def read_classification_task(
    path: Path, tokenizer: Any, settings: Settings, known: Sequence[str] | None, whose: str
) -> TaskData:
    """Texts, or pairs of texts, of one class each; what is longer than max_length is cut off."""
    read = {split: read_classification(file) for split, file in _splits(path).items()}
    labels = tuple(known) if known is not None else read["train"].label_names
    for data in read.values():
        _require_classes(data, labels, whose if known is not None else "the training data")
    features = {split: _text_features(data, tokenizer, settings, labels) for split, data in read.items()}
    train, dev = _with_dev(features["train"], features.get("dev"), by_sentence=False)
    train_data = read["train"]
    texts = [*train_data.texts, *(train_data.seconds or ())]
    measure = partial(measure_classification, labels)
    return TaskData("sequence", labels, train, dev, features.get("test"), "accuracy", measure, texts)


def read_language_task(
    path: Path, tokenizer: Any, settings: Settings, known: Sequence[str] | None, whose: str
) -> TaskData:
    """Running text, cut into windows of max_length tokens; every token is predicted from those before it."""
    texts = {split: read_text(file) for split, file in _splits(path).items()}
    windows = {split: _text_windows(text, tokenizer, settings.max_length) for split, text in texts.items()}
    train, dev = _with_dev(windows["train"], windows.get("dev"), by_sentence=False)
    paragraphs = [line for line in texts["train"].split("\n") if line.strip()]
    return TaskData("language", (), train, dev, windows.get("test"), "loss", None, paragraphs)


TASKS: dict[str, Task] = {
    "ner": Task("ner", "AutoModelForTokenClassification", read_ner_task),
    "classification": Task("classification", "AutoModelForSequenceClassification", read_classification_task),
    "lm": Task("lm", "AutoModelForCausalLM", read_language_task),
}


def data_files(path: Path) -> dict[str, Path]:
    """The files that a task reads, by split."""
    return _splits(path)


def _splits(path: Path) -> dict[str, Path]:
    """Files by split; a file alone is the training data. Raises: UsageError if there are no training data."""
    splits = find_splits(path)
    if not splits:
        return {"train": path}
    if "train" not in splits:
        raise UsageError(
            f"data {path}: no training split here, only {', '.join(splits)}; add a file whose name says train, "
            "or give the file to train on itself"
        )
    return splits


def _with_dev(
    train: Sequence[Feature], dev: Sequence[Feature] | None, *, by_sentence: bool
) -> tuple[Sequence[Feature], Sequence[Feature]]:
    """(training, development); without the latter every HELD_OUT_EVERY-th sentence is held out, a lone one is both."""
    if dev:
        return train, dev
    number = [feature.sentence if by_sentence else place for place, feature in enumerate(train)]
    is_held_out = [n % HELD_OUT_EVERY == HELD_OUT_EVERY // 2 for n in number]
    held_out = [feature for feature, out in zip(train, is_held_out, strict=True) if out]
    rest = [feature for feature, out in zip(train, is_held_out, strict=True) if not out]
    return (rest, held_out) if rest and held_out else (train, train)


def _ner_labels(read: dict[str, NerData]) -> tuple[str, ...]:
    """O, then B- and I- of every type of the training data."""
    return labels_of([sentence.tags for sentence in read["train"].sentences])


def _ner_features(data: NerData, aligner: Aligner, labels: Sequence[str]) -> list[Feature]:
    numbers = {label: number for number, label in enumerate(labels)}
    features = []
    for place, sentence in enumerate(data.sentences):
        for window in aligner(sentence.words):
            found = [IGNORED] * len(window.input_ids)
            for position, word in window.predicts:
                found[position] = numbers[sentence.tags[word]]
            words = tuple(word for _, word in window.predicts)
            features.append(Feature(window.input_ids, tuple(found), place, words))
    return features


def _require_classes(data: ClassificationData, labels: Sequence[str], whose: str) -> None:
    for number, label in enumerate(data.labels):
        if label not in labels:
            raise UsageError(
                f"{data.where(number)}: label {label!r} is no class of {whose}"
                f"{did_you_mean(label, labels).rstrip('.')}; it has {', '.join(labels[:12])}"
            )


def _text_features(
    data: ClassificationData, tokenizer: Any, settings: Settings, labels: Sequence[str]
) -> list[Feature]:
    numbers = {label: number for number, label in enumerate(labels)}
    pairs = (None,) * len(data.texts) if data.seconds is None else data.seconds
    features = []
    for place, (text, second, label) in enumerate(zip(data.texts, pairs, data.labels, strict=True)):
        ids = tokenizer(
            text, second, padding=False, truncation=True, max_length=settings.max_length, verbose=False
        )["input_ids"]
        features.append(Feature(tuple(ids), (numbers[label],), place))
    return features


def _text_windows(text: str, tokenizer: Any, length: int) -> list[Feature]:
    ids = tokenizer(text, padding=False, truncation=False, verbose=False)["input_ids"]
    starts = range(0, max(1, len(ids) - 1), length)
    windows = [tuple(ids[start : start + length]) for start in starts]
    kept = [window for window in windows if len(window) > 1]  # one token alone predicts nothing
    if not kept:
        raise UsageError("the text is one token long; language modelling needs at least two")
    return [Feature(window, window, number) for number, window in enumerate(kept)]
