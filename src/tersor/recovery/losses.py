"""How far a model is from what it was, as something to differentiate."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Protocol

import torch
from torch import nn
from torch.nn import functional

from tersor.calibrate.batches import Batch
from tersor.calibrate.head import LOGIT_BYTES, LanguageModel
from tersor.calibrate.objective import Distributions, Embeddings, Objective, choose_objective

# Softer distributions weigh the less likely tokens more; T^2 keeps the gradient's size (Hinton et al. 1503.02531).
TEMPERATURE = 2.0


class Loss(Protocol):
    """A distance from the original model's outputs, of one batch.

    target: the outputs, to be kept for later; without gradients.
    backward: adds the gradient of the mean distance to the parameters that require it; returns that mean.
    distance: the mean as calibration measures it, at temperature 1.
    """

    def target(self, model: nn.Module, batch: Batch) -> torch.Tensor: ...
    def backward(self, model: nn.Module, batch: Batch, target: torch.Tensor) -> float: ...
    def distance(self, model: nn.Module, batch: Batch, target: torch.Tensor) -> float: ...


def choose_loss(model: nn.Module, batch: Batch) -> Loss:
    """The loss that fits the model's outputs; `model` is the original. Raises: UsageError for unknown outputs."""
    objective = choose_objective(model, batch)
    if isinstance(objective, LanguageModel):
        return LanguageLoss(objective.head)
    return OutputLoss(objective)


class OutputLoss:
    """1 - cosine of embeddings, T^2 KL of distributions, half the squared difference of numbers."""

    def __init__(self, objective: Objective) -> None:
        self.objective = objective

    @torch.no_grad()
    def target(self, model: nn.Module, batch: Batch) -> torch.Tensor:
        return self.objective.outputs(model, batch)

    def backward(self, model: nn.Module, batch: Batch, target: torch.Tensor) -> float:
        outputs = self.objective.outputs(model, batch)
        if isinstance(self.objective, Distributions):
            found, expected = (
                functional.log_softmax(values / TEMPERATURE, dim=-1) for values in (outputs, target)
            )
            loss = TEMPERATURE**2 * functional.kl_div(found, expected, log_target=True, reduction="batchmean")
        elif isinstance(self.objective, Embeddings):
            loss = (1 - functional.cosine_similarity(outputs, target, dim=-1)).mean()
        else:
            loss = 0.5 * (outputs - target).square().sum(dim=-1).mean()
        loss.backward()  # type: ignore[no-untyped-call]
        return float(loss.detach())

    @torch.no_grad()
    def distance(self, model: nn.Module, batch: Batch, target: torch.Tensor) -> float:
        return float(self.objective.distances(target, self.objective.outputs(model, batch)).mean())


class LanguageLoss:
    """T^2 KL of the tokens' distributions; kept are the head's inputs and its weight, never the logits.

    head: the original's. A model that is compared may be another object of the same class.
    """

    def __init__(self, head: nn.Linear) -> None:
        self._original = head.weight.detach().clone()
        bias = head.bias
        self._original_bias = None if bias is None else bias.detach().clone()

    @torch.no_grad()
    def target(self, model: nn.Module, batch: Batch) -> torch.Tensor:
        return self._hidden(model, batch)

    def backward(self, model: nn.Module, batch: Batch, target: torch.Tensor) -> float:
        hidden = self._hidden(model, batch)
        parts = [
            self._gradient(_head_of(model), before, now)
            for before, now in self._blocks(target, hidden.detach())
        ]
        gradient = torch.cat([part for part, _ in parts]) / len(hidden)
        hidden.backward(gradient)  # type: ignore[no-untyped-call]
        return sum(loss for _, loss in parts) / len(hidden)

    @torch.no_grad()
    def distance(self, model: nn.Module, batch: Batch, target: torch.Tensor) -> float:
        hidden = self._hidden(model, batch)
        total = 0.0
        for before, now in self._blocks(target, hidden):
            expected, found = self._log_probabilities(_head_of(model), before, now, 1.0)
            total += float((expected.exp() * (expected - found)).sum(dtype=torch.float64))
        return total / len(hidden)

    def _hidden(self, model: nn.Module, batch: Batch) -> torch.Tensor:
        return LanguageModel(_head_of(model)).outputs(model, batch)

    def _blocks(self, before: torch.Tensor, now: torch.Tensor) -> Iterator[tuple[torch.Tensor, torch.Tensor]]:
        """Rows of both whose logits fit into LOGIT_BYTES."""
        rows = max(1, LOGIT_BYTES // (4 * len(self._original)))
        return zip(torch.split(before, rows), torch.split(now, rows), strict=True)

    @torch.no_grad()
    def _gradient(
        self, head: nn.Linear, before: torch.Tensor, now: torch.Tensor
    ) -> tuple[torch.Tensor, float]:
        """Gradient of T^2 KL by the head's inputs, and its value, both summed over the rows."""
        expected, found = self._log_probabilities(head, before, now, TEMPERATURE)
        loss = TEMPERATURE**2 * float((expected.exp() * (expected - found)).sum())
        by_logits = TEMPERATURE * (found.exp_() - expected.exp_())
        return by_logits @ head.weight, loss

    def _log_probabilities(
        self, head: nn.Linear, before: torch.Tensor, now: torch.Tensor, temperature: float
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """Of the original model and of the model now."""
        original = functional.linear(before, self._original, self._original_bias)
        changed = functional.linear(now, head.weight, head.bias)
        return (
            functional.log_softmax(original / temperature, dim=-1),
            functional.log_softmax(changed / temperature, dim=-1),
        )


def _head_of(model: nn.Module) -> nn.Linear:
    """The matrix over the vocabulary, as choose_objective found it in the original."""
    head = model.get_output_embeddings()  # type: ignore[operator]  # of every model that has such a head
    assert isinstance(head, nn.Linear), "of the class of the original"
    return head
