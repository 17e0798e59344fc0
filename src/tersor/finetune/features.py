"""Sequences for training, whatever the task: ids, labels, and the collator that pads them."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch

IGNORED = -100  # torch's cross_entropy skips it


@dataclass(frozen=True, slots=True)
class Feature:
    """One sequence of tokens. labels: one per token (IGNORED: none), or a single one of the whole sequence.

    sentence: the number of the sentence that it is a window of; words: those that its labels are of, in order.
    """

    input_ids: tuple[int, ...]
    labels: tuple[int, ...]
    sentence: int = 0
    words: tuple[int, ...] = ()

    def __len__(self) -> int:
        return len(self.input_ids)


# (scores of the classes, one row per labelled place, in the order of the features; the features) -> metrics
Measure = Callable[[np.ndarray, Sequence[Feature]], dict[str, float]]


@dataclass(frozen=True, slots=True)
class TaskData:
    """A task's sequences, split, and how predictions are judged.

    kind: "token", "sequence" or "language": what a label belongs to; of language models the next token.
    labels: names of the classes; () for language models. metric: what decides which checkpoint is best.
    measure: None: the loss alone is known. sentences: the training text, for calibration.
    """

    kind: str
    labels: tuple[str, ...]
    train: Sequence[Feature]
    dev: Sequence[Feature]
    test: Sequence[Feature] | None
    metric: str
    measure: Measure | None
    sentences: Sequence[str]

    @property
    def greater_is_better(self) -> bool:
        return self.metric != "loss"


class Sequences(torch.utils.data.Dataset[dict[str, Any]]):
    """Features with their numbers, by which the teacher's outputs are found."""

    def __init__(self, features: Sequence[Feature]) -> None:
        self.features = features

    def __len__(self) -> int:
        return len(self.features)

    def __getitem__(self, number: int) -> dict[str, Any]:
        feature = self.features[number]
        return {"input_ids": feature.input_ids, "labels": feature.labels, "number": number}


class Collator:
    """Pads a batch to its longest sequence."""

    def __init__(self, pad_id: int, kind: str) -> None:
        self._pad_id = pad_id
        self._kind = kind

    def __call__(self, items: Sequence[Mapping[str, Any]]) -> dict[str, torch.Tensor]:
        longest = max(len(item["input_ids"]) for item in items)
        ids = torch.full((len(items), longest), self._pad_id, dtype=torch.long)
        mask = torch.zeros((len(items), longest), dtype=torch.long)
        is_sequence = self._kind == "sequence"
        labels = torch.full((len(items),) if is_sequence else (len(items), longest), IGNORED)
        for row, item in enumerate(items):
            length = len(item["input_ids"])
            ids[row, :length] = torch.tensor(item["input_ids"])
            mask[row, :length] = 1
            if is_sequence:
                labels[row] = item["labels"][0]
            else:
                labels[row, :length] = torch.tensor(item["labels"])
        numbers = torch.tensor([item["number"] for item in items])
        return {"input_ids": ids, "attention_mask": mask, "labels": labels, "number": numbers}


def labelled_rows(logits: torch.Tensor, labels: torch.Tensor, kind: str) -> tuple[torch.Tensor, torch.Tensor]:
    """(scores (n, classes), targets (n,)) of the labelled places of a batch, sequence after sequence."""
    if kind == "sequence":
        return logits, labels
    if kind == "language":
        logits, labels = logits[:, :-1], labels[:, 1:]
    chosen = labels != IGNORED
    return logits[chosen], labels[chosen]


def n_rows(feature: Feature, kind: str) -> int:
    """How many labelled places a feature has."""
    if kind == "sequence":
        return 1
    counted = feature.labels[1:] if kind == "language" else feature.labels
    return sum(label != IGNORED for label in counted)
