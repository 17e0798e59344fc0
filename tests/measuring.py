"""Tiny models with classifiers, and one task's figures without the rest of `evaluate`."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, ClassVar

import torch
from transformers import AutoConfig

from tersor.evaluate.one_by_one import Measurer, Subject
from tersor.evaluate.options import Options
from tersor.evaluate.speed_worker import Worker
from tersor.evaluate.task import Measurement, no_share
from tersor.types import Metric

Prepare = Callable[[Subject], Measurer]


def with_head(folder: Path, model_class: Any, labels: tuple[str, ...], seed: int = 0) -> Path:
    """Give the tiny BERT in a folder a classifier with these labels."""
    config = AutoConfig.from_pretrained(folder)
    config.num_labels = len(labels)
    config.id2label, config.label2id = dict(enumerate(labels)), {name: i for i, name in enumerate(labels)}
    torch.manual_seed(seed)
    model_class.from_pretrained(folder, config=config).save_pretrained(folder)
    return folder


def measured(
    prepare: Prepare, original: Any, model: Any, tokenizer: Any, data: Any, **options: Any
) -> Measurement:
    """What a task finds out about `model`, the original measured before it."""
    measurer = prepare(Subject(original, tokenizer, data, 0, Options(**options)))
    first = measurer(original, no_share)
    return first if model is original else measurer(model, no_share)


def metrics_of(found: Measurement) -> list[Metric]:
    return [figure.metric for figure in found.figures]


class InThisProcess:
    """Stands in for SpeedProcess without the seconds that one takes to start; notes who is asked in `asked`."""

    asked: ClassVar[list[tuple[str, str]]] = []

    def __init__(self, folder: str, threads: int) -> None:
        self._folder, self._worker = folder, Worker(folder)
        self.facts = self._worker.facts()

    def ask(self, **request: Any) -> Mapping[str, Any]:
        self.asked.append((Path(self._folder).name, request["do"]))
        answer: dict[str, Any] = json.loads(json.dumps(self._worker.perform(request)))
        return answer

    def __enter__(self) -> InThisProcess:
        return self

    def __exit__(self, *_: object) -> None:
        """Nothing to end."""
