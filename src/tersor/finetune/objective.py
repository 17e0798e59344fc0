"""What training makes smaller: the loss by labels, and the distance from a teacher."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import nn
from torch.nn import functional
from torch.utils.data import DataLoader

from tersor.finetune.features import Collator, Feature, Sequences, labelled_rows, n_rows
from tersor.finetune.settings import Settings

# Beyond this the teacher runs beside the student instead of being remembered.
MAX_CACHE_BYTES = 512 << 20
_TEACHER_BATCH = 64


class Teacher:
    """The original model's scores of every training sequence, remembered where memory allows; no gradients.

    hidden: the hidden states are wanted too, so it runs with every batch. bf16: products in bfloat16, as the student's.
    """

    def __init__(self, model: nn.Module, kind: str, *, hidden: bool, bf16: bool = False) -> None:
        self._bf16 = bf16
        self._model = model.eval().requires_grad_(False)
        self._kind = kind
        self._hidden = hidden
        self._rows: list[torch.Tensor] | None = None

    def weights(self) -> dict[str, torch.Tensor]:
        """The teacher's parameters by name."""
        return {name: parameter.detach() for name, parameter in self._model.named_parameters()}

    @torch.no_grad()
    def remember(self, features: Sequence[Feature], pad_id: int, n_classes: int) -> None:
        """Run over the training sequences once, unless their scores are too many (MAX_CACHE_BYTES)."""
        n_bytes = 4 * n_classes * sum(n_rows(feature, self._kind) for feature in features)
        if self._hidden or n_bytes > MAX_CACHE_BYTES:
            return
        rows: list[torch.Tensor | None] = [None] * len(features)
        # Sorted by length: less padding. The order of a batch's rows is that of its features.
        order = sorted(range(len(features)), key=lambda number: len(features[number]))
        batches = [order[i : i + _TEACHER_BATCH] for i in range(0, len(order), _TEACHER_BATCH)]
        loader: DataLoader[Any] = DataLoader(
            Sequences(features), batch_sampler=batches, collate_fn=Collator(pad_id, self._kind)
        )
        for numbers, batch in zip(batches, loader, strict=True):
            logits = self._run(batch).logits
            found, _ = labelled_rows(logits.float(), batch["labels"], self._kind)
            counts = [n_rows(features[number], self._kind) for number in numbers]
            for number, part in zip(numbers, torch.split(found, counts), strict=True):
                rows[number] = part.clone()
        self._rows = [part for part in rows if part is not None]

    @torch.no_grad()
    def outputs(self, batch: dict[str, torch.Tensor]) -> tuple[torch.Tensor, Sequence[torch.Tensor]]:
        """(scores of the labelled places, hidden states: empty unless wanted) for a training batch."""
        if self._rows is not None:
            return torch.cat([self._rows[number] for number in batch["number"].tolist()]), ()
        output = self._run(batch)
        rows, _ = labelled_rows(output.logits.float(), batch["labels"], self._kind)
        return rows, output.hidden_states if self._hidden else ()

    def _run(self, batch: dict[str, torch.Tensor]) -> Any:
        with torch.autocast("cpu", torch.bfloat16, enabled=self._bf16):
            return self._model(
                input_ids=batch["input_ids"],
                attention_mask=batch["attention_mask"],
                output_hidden_states=self._hidden,
            )


class Objective:
    """labels * cross entropy + distill * T^2 KL to the teacher + hidden * squared distance of hidden states."""

    def __init__(self, kind: str, settings: Settings, teacher: Teacher | None) -> None:
        self._kind = kind
        self._settings = settings
        self._teacher = teacher

    @property
    def needs_hidden(self) -> bool:
        return self._teacher is not None and self._settings.hidden > 0

    def loss(
        self, logits: torch.Tensor, hidden: Sequence[torch.Tensor], batch: dict[str, torch.Tensor]
    ) -> torch.Tensor:
        """The loss of a training batch."""
        rows, targets = labelled_rows(logits.float(), batch["labels"], self._kind)
        if not len(rows):  # a window may label nothing; its gradient is zero
            return logits.sum() * 0.0
        if self._teacher is None:
            return functional.cross_entropy(rows, targets)
        settings = self._settings
        total = rows.new_zeros(())
        if settings.labels > 0:
            total = total + settings.labels * functional.cross_entropy(rows, targets)
        if settings.distill > 0 or settings.hidden > 0:
            expected, expected_hidden = self._teacher.outputs(batch)
            if settings.distill > 0:
                total = total + settings.distill * distance(rows, expected, settings.temperature)
            if settings.hidden > 0:
                total = total + settings.hidden * hidden_distance(
                    hidden, expected_hidden, batch["attention_mask"]
                )
        return total

    def plain_loss(self, logits: torch.Tensor, batch: dict[str, torch.Tensor]) -> torch.Tensor:
        """The cross entropy by labels alone: what an evaluation reports."""
        rows, targets = labelled_rows(logits.float(), batch["labels"], self._kind)
        return functional.cross_entropy(rows, targets) if len(rows) else logits.sum() * 0.0


def distance(rows: torch.Tensor, expected: torch.Tensor, temperature: float) -> torch.Tensor:
    """T^2 KL(expected || rows) of the softened distributions, mean over the rows (Hinton et al. 1503.02531)."""
    found, wanted = (functional.log_softmax(values / temperature, dim=-1) for values in (rows, expected))
    return temperature**2 * functional.kl_div(found, wanted, log_target=True, reduction="batchmean")


def hidden_distance(
    found: Sequence[torch.Tensor], expected: Sequence[torch.Tensor], mask: torch.Tensor
) -> torch.Tensor:
    """Mean squared distance of the states of real tokens, relative to the teacher's power, mean over layers.

    A student with fewer layers is compared with evenly spaced ones of the teacher.
    """
    chosen = mask.bool()
    total = found[0].new_zeros((), dtype=torch.float32)
    for number, states in enumerate(found):
        place = round(number * (len(expected) - 1) / max(1, len(found) - 1))
        target = expected[place][chosen].float()
        difference = states[chosen].float() - target
        total = total + difference.square().mean() / target.square().mean().clamp_min(1e-12)
    return total / len(found)
