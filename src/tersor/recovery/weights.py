"""Tuning of all weights of a float model towards the original's outputs, without labels.

What structured pruning cannot mend by least squares, layer by layer, is mended end to end: knowledge distillation
(Hinton et al. 2015, arXiv:1503.02531) on the calibration text.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import nn

from tersor.calibrate.model_inputs import frozen
from tersor.calibrate.threads import single_thread
from tersor.recovery.small import Teacher
from tersor.recovery.training import Progress, batch_order, split_batches, train

N_STEPS = 150
# MiniLM without a quarter of heads and neurons, re-fitted: error .0657; .0536 after 80 steps at 1e-4, .0505 after 200
# at 2e-4 of 49k tokens (four passes: it overfits), .0439 after 240 at 2e-4 of 206k tokens.
LEARNING_RATE = 2e-4


@dataclass(frozen=True, slots=True)
class TunedWeights:
    """before, after: distance from the original on text that was not trained on; equal if nothing did better.

    n_tensors: parameters that were tuned.
    """

    n_steps: int
    n_tensors: int
    before: float
    after: float

    def to_json(self) -> dict[str, object]:
        """Plain values for the report."""
        return {"n_steps": self.n_steps, "n_tensors": self.n_tensors, "error": [self.before, self.after]}


def tune_all(
    model: nn.Module,
    teacher: Teacher,
    *,
    seed: int = 0,
    n_steps: int = N_STEPS,
    learning_rate: float = LEARNING_RATE,
    embeddings: bool = False,
    progress: Progress | None = None,
) -> TunedWeights:
    """Move all weights of a model towards the original's outputs: AdamW, warm-up, linear decay.

    model: float32, on the CPU; afterwards it holds the tuned weights if they are better on text that was not trained
        on, else those that it had.
    teacher: of the original (`make_teacher`). embeddings: tune tables of tokens and positions too (most of their rows
        are not on the text).
    Deterministic for a seed, with torch on one thread inside. progress: called with (done, total).
    """
    tables = {id(module.weight) for module in model.modules() if isinstance(module, nn.Embedding)}
    tuned = [p for p in model.parameters() if embeddings or id(p) not in tables]
    held_out, trained = split_batches(len(teacher.batches))
    with single_thread(), frozen(model):
        before = teacher.distance(model, held_out)
        saved = [parameter.detach().clone() for parameter in tuned]
        order = batch_order(trained, n_steps, seed)
        train(tuned, lambda number: teacher.backward(model, number), order, learning_rate, progress)
        after = teacher.distance(model, held_out)
        if not after < before:  # NaN is no improvement either
            with torch.no_grad():
                for parameter, original in zip(tuned, saved, strict=True):
                    parameter.copy_(original)
            after = before
    return TunedWeights(len(order), len(tuned), before, after)
