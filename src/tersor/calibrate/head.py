"""Language models whose last step is a matrix over the vocabulary: their logits are never held at once."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import torch
from torch import nn
from torch.nn import functional

from tersor.calibrate.batches import Batch
from tersor.calibrate.model_inputs import call_model
from tersor.calibrate.objective import kl_divergence
from tersor.errors import UsageError

# Logits in memory at a time; some four such blocks exist while one is worked on, in each thread.
LOGIT_BYTES = 8 << 20
# A head over fewer classes than this is a classifier: its logits are small, and it gets output factors.
MIN_VOCABULARY = 128


@dataclass(slots=True)
class HeadSums:
    """Sums over predictions with hidden state h and distribution p, in closed form: no label is sampled.

    hessian: sum of (1 - sum p^2) h h', (width, width). energy: its trace.
    variance: sum of p (1 - p), (vocabulary,). probability: sum of p.
    """

    hessian: torch.Tensor
    variance: torch.Tensor
    probability: torch.Tensor
    n_predictions: int = 0

    @classmethod
    def zeros(cls, head: nn.Linear) -> HeadSums:
        rows, width = head.weight.shape
        return cls(torch.zeros(width, width), torch.zeros(rows), torch.zeros(rows))

    @property
    def energy(self) -> float:
        return float(self.hessian.diagonal().sum(dtype=torch.float64))

    def add(self, hidden: torch.Tensor, probabilities: torch.Tensor) -> None:
        variance = probabilities * (1 - probabilities)
        self.variance += variance.sum(dim=0)
        self.probability += probabilities.sum(dim=0)
        self.hessian.addmm_(hidden.T, hidden * variance.sum(dim=1, keepdim=True))
        self.n_predictions += len(hidden)


class LanguageModel:
    """The objective of a language model with a plain head: outputs are the head's inputs, (predictions, width)."""

    def __init__(self, head: nn.Linear) -> None:
        self.head = head
        self.sums: HeadSums | None = None

    def outputs(self, model: nn.Module, batch: Batch) -> torch.Tensor:
        return head_inputs(model, self.head, batch)[batch.mask]

    def distances(self, reference: torch.Tensor, changed: torch.Tensor) -> torch.Tensor:
        """KL divergence; `changed` passes through the head as it is now, `reference` through its own weight."""
        found = []
        weight, bias = self.head.weight.detach(), self.head.bias
        for before, after in zip(self._blocks(reference), self._blocks(changed), strict=True):
            # matmul, not linear: who perturbs the head watches `linear`.
            logits = before @ weight.T if bias is None else before @ weight.T + bias
            expected = functional.log_softmax(logits, dim=-1)
            found.append(kl_divergence(expected, functional.log_softmax(self.head(after), dim=-1)))
        return torch.cat(found)

    def backward(self, model: nn.Module, batch: Batch, generator: torch.Generator) -> int:
        hidden = self.outputs(model, batch)
        gradient = [self._absorb(block, generator) for block in self._blocks(hidden.detach())]
        hidden.backward(torch.cat(gradient))  # type: ignore[no-untyped-call]
        return len(hidden)

    @torch.no_grad()
    def _absorb(self, hidden: torch.Tensor, generator: torch.Generator) -> torch.Tensor:
        """Add a block to the sums; return the gradient at `hidden` of the log-likelihood of labels from the model."""
        if self.sums is None:
            self.sums = HeadSums.zeros(self.head)
        probabilities = self.head(hidden).float().softmax(dim=-1)
        self.sums.add(hidden, probabilities)
        labels = torch.multinomial(probabilities, 1, generator=generator)
        direction = probabilities.neg_().scatter_add_(1, labels, torch.ones(labels.shape))
        gradient: torch.Tensor = direction @ self.head.weight
        return gradient

    def _blocks(self, hidden: torch.Tensor) -> Iterator[torch.Tensor]:
        rows = max(1, LOGIT_BYTES // (4 * len(self.head.weight)))
        return (hidden[start : start + rows] for start in range(0, len(hidden), rows))


def plain_head(model: nn.Module, batch: Batch) -> nn.Linear | None:
    """The matrix over the vocabulary, if the model's logits are its product and nothing else; else None."""
    find = getattr(model, "get_output_embeddings", None)
    head = find() if find is not None else None
    if not isinstance(head, nn.Linear) or len(head.weight) < MIN_VOCABULARY:
        return None
    probe = Batch(batch.ids[:1, :4], batch.mask[:1, :4])
    with torch.no_grad():
        seen, output = _captured(model, head, probe, probe.ids.shape[1])
        if len(seen) != 1 or seen[0].shape[:2] != probe.ids.shape:
            return None
        logits, expected = getattr(output, "logits", None), head(seen[0])
    if logits is None or logits.shape != expected.shape:
        return None
    return head if torch.allclose(logits, expected, rtol=1e-3, atol=1e-4) else None


def head_inputs(model: nn.Module, head: nn.Linear, batch: Batch) -> torch.Tensor:
    """What the head multiplies, (sequences, length, width); the model itself computes one logit row per sequence."""
    seen, _ = _captured(model, head, batch, 1)
    if len(seen) != 1 or seen[0].shape[:2] != batch.ids.shape:
        raise UsageError(
            f"{type(model).__name__} called its head {len(seen)} times for one batch, and once for another; "
            "calibration expects one prediction per token. `tersor pack` stores any model without loss"
        )
    return seen[0]


def _captured(model: nn.Module, head: nn.Linear, batch: Batch, keep: int) -> tuple[list[torch.Tensor], Any]:
    """The inputs of the head's calls, and the model's output with `keep` logit rows per sequence."""
    seen: list[torch.Tensor] = []
    caller = threading.get_ident()

    def capture(module: nn.Module, inputs: tuple[torch.Tensor, ...]) -> tuple[torch.Tensor, ...]:
        if threading.get_ident() != caller:
            return inputs  # another thread runs the same model
        seen.append(inputs[0])
        return (inputs[0][:, :keep], *inputs[1:])

    handle = head.register_forward_pre_hook(capture)
    try:
        return seen, call_model(model, batch)
    finally:
        handle.remove()
