"""Tuning of norms, biases and other small parameters while all codes stay as they are.

The small parameters are about .1% of a model and are stored at a fixed precision, so new values cost no bytes. They are
moved so that the quantized model's outputs come closer to the original's on the calibration text; no labels are used.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch
from torch import nn

from tersor.calibrate.batches import Batch, make_batches
from tersor.calibrate.model_inputs import frozen
from tersor.calibrate.text import CalibrationText
from tersor.calibrate.threads import single_thread
from tersor.planner.plan import Plan, TensorPlan
from tersor.recovery.losses import LanguageLoss, Loss, choose_loss
from tersor.recovery.training import Progress, batch_order, split_batches, train

BATCH_TOKENS = 1024
N_STEPS = 150
LEARNING_RATE = 1e-3


@dataclass(frozen=True, slots=True)
class Teacher:
    """The original model's outputs on the calibration text, in batches; made before anything is quantized."""

    loss: Loss
    batches: Sequence[Batch]
    targets: Sequence[torch.Tensor]

    def distance(self, model: nn.Module, numbers: Sequence[int]) -> float:
        """Mean distance of a model from the original over some of the batches, by prediction."""
        sizes = [len(self.targets[number]) for number in numbers]
        found = [self.loss.distance(model, self.batches[n], self.targets[n]) for n in numbers]
        return float(np.average(found, weights=sizes))

    def backward(self, model: nn.Module, number: int) -> float:
        """Add the gradient of the mean distance over one batch; returns that mean."""
        return self.loss.backward(model, self.batches[number], self.targets[number])

    def of_channels(self, channels: Sequence[int] | None) -> Teacher:
        """The teacher of a model whose hidden states have only some of the original's channels.

        Embeddings are compared in the channels that are left. Language models need no change: their logits stay
        comparable.
        """
        if channels is None or isinstance(self.loss, LanguageLoss):
            return self
        index = torch.tensor(channels)
        width = max(channels) + 1
        if any(target.shape[-1] < width for target in self.targets):
            return self  # classes or numbers, not hidden states
        return replace(self, targets=[target[..., index] for target in self.targets])


@dataclass(frozen=True, slots=True)
class Tuned:
    """values: of the small tensors, by checkpoint name; empty if none did better than what was there.

    before, after: distance from the original on text that was not trained on.
    """

    values: dict[str, np.ndarray]
    n_steps: int
    before: float
    after: float

    def to_json(self) -> dict[str, object]:
        """Plain values for the archive's provenance."""
        return {"n_steps": self.n_steps, "n_tensors": len(self.values), "error": [self.before, self.after]}


def make_teacher(model: nn.Module, text: CalibrationText) -> Teacher:
    """Run the original model over the text. Raises: UsageError if its outputs are of no known kind."""
    batches = make_batches(text.sequences, BATCH_TOKENS)
    with single_thread(), frozen(model):
        loss = choose_loss(model, batches[0])
        return Teacher(loss, batches, [loss.target(model, batch) for batch in batches])


def small_tensors(model: nn.Module, plan: Plan) -> dict[str, TensorPlan]:
    """What is tuned, by parameter name: everything of fixed precision that the model has."""
    names = {name for name, _ in model.named_parameters()}
    return {
        tensor.parameter: tensor for tensor in plan.tensors if tensor.is_fixed and tensor.parameter in names
    }


def tune_small(
    model: nn.Module,
    teacher: Teacher,
    plan: Plan,
    *,
    seed: int = 0,
    n_steps: int = N_STEPS,
    learning_rate: float = LEARNING_RATE,
    progress: Progress | None = None,
) -> Tuned:
    """Move the small parameters of a quantized model towards the original's outputs: AdamW, warm-up, linear decay.

    model: holds the dequantized values, float32, on the CPU; afterwards also the tuned ones, if they are better.
    Deterministic for a seed, with torch on one thread inside. progress: called with (done, total).
    """
    small = small_tensors(model, plan)
    held_out, trained = split_batches(len(teacher.batches))
    parameters = dict(model.named_parameters())
    tuned = [parameters[name] for name in small]
    with single_thread(), frozen(model):
        before = teacher.distance(model, held_out)
        saved = [parameter.detach().clone() for parameter in tuned]
        order = batch_order(trained, n_steps if tuned else 0, seed)
        train(tuned, lambda number: teacher.backward(model, number), order, learning_rate, progress)
        after = teacher.distance(model, held_out)
        if not after < before:  # NaN is no improvement either
            with torch.no_grad():
                for parameter, original in zip(tuned, saved, strict=True):
                    parameter.copy_(original)
            return Tuned({}, len(order), before, before)
    values = {
        tensor.spec.name: np.array(parameters[name].detach().numpy(), np.float32)
        for name, tensor in small.items()
    }
    return Tuned(values, len(order), before, after)
