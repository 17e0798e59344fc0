"""Tuning of norms, biases and other small parameters while all codes stay as they are.

The small parameters are about .1% of a model and are stored at a fixed precision, so new values cost no bytes. They are
moved so that the quantized model's outputs come closer to the original's on the calibration text; no labels are used.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import nn

from tersor.calibrate.batches import Batch, make_batches
from tersor.calibrate.model_inputs import frozen
from tersor.calibrate.text import CalibrationText
from tersor.calibrate.threads import single_thread
from tersor.planner.plan import Plan, TensorPlan
from tersor.recovery.losses import Loss, choose_loss

BATCH_TOKENS = 1024
N_STEPS = 150
LEARNING_RATE = 1e-3
WARMUP_STEPS = 20
BETAS = (0.9, 0.99)
# One batch in so many is not trained on: it decides whether the tuned values are better.
HELD_OUT_EVERY = 8

Progress = Callable[[int, int], None]


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
        tensor.parameter: tensor
        for tensor in plan.tensors
        if tensor.is_quantized and tensor.is_fixed and tensor.parameter in names
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
    held_out, trained = _split(len(teacher.batches))
    parameters = dict(model.named_parameters())
    tuned = [parameters[name] for name in small]
    with single_thread(), frozen(model):
        before = teacher.distance(model, held_out)
        saved = [parameter.detach().clone() for parameter in tuned]
        order = _order(trained, n_steps if tuned else 0, seed)
        _train(model, teacher, tuned, order, learning_rate, progress or (lambda done, total: None))
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


def _split(n_batches: int) -> tuple[list[int], list[int]]:
    """(numbers of the batches held out, numbers of those trained on); a single batch is both."""
    if n_batches < 2:
        return [0], [0]
    held_out = list(range(n_batches // 2 % HELD_OUT_EVERY, n_batches, HELD_OUT_EVERY))
    return held_out, [number for number in range(n_batches) if number not in held_out]


def _order(numbers: Sequence[int], n_steps: int, seed: int) -> list[int]:
    """The batch of every step: all in random order, again and again."""
    generator = np.random.default_rng(seed)
    rounds = -(-n_steps // len(numbers))
    return [int(n) for _ in range(rounds) for n in generator.permutation(numbers)][:n_steps]


def _train(
    model: nn.Module,
    teacher: Teacher,
    tuned: Sequence[nn.Parameter],
    order: Sequence[int],
    learning_rate: float,
    progress: Progress,
) -> None:
    if not order:
        return
    for parameter in tuned:
        parameter.requires_grad_(True)
    optimizer = torch.optim.AdamW(tuned, lr=learning_rate, betas=BETAS, weight_decay=0.0)
    try:
        for step, number in enumerate(order):
            for group in optimizer.param_groups:
                group["lr"] = learning_rate * _schedule(step, len(order))
            teacher.loss.backward(model, teacher.batches[number], teacher.targets[number])
            optimizer.step()
            optimizer.zero_grad(set_to_none=True)
            progress(step + 1, len(order))
    finally:
        for parameter in tuned:
            parameter.requires_grad_(False)


def _schedule(step: int, n_steps: int) -> float:
    """Share of the learning rate: a short rise, then a straight line down."""
    return min(1.0, (step + 1) / WARMUP_STEPS) * (n_steps - step) / n_steps
