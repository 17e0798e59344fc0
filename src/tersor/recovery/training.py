"""The training loop of recovery: AdamW, warm-up, linear decay, batches in random order, some of them held out."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
import torch
from torch import nn

BETAS = (0.9, 0.99)
# One batch in so many is not trained on: it decides whether the tuned values are better.
HELD_OUT_EVERY = 8
WARMUP_STEPS = 20

Progress = Callable[[int, int], None]
# Adds the gradient of the mean distance over the batch of this number.
Backward = Callable[[int], float]


def split_batches(n_batches: int) -> tuple[list[int], list[int]]:
    """(numbers of the batches held out, numbers of those trained on); a single batch is both."""
    if n_batches < 2:
        return [0], [0]
    held_out = list(range(n_batches // 2 % HELD_OUT_EVERY, n_batches, HELD_OUT_EVERY))
    return held_out, [number for number in range(n_batches) if number not in held_out]


def batch_order(numbers: Sequence[int], n_steps: int, seed: int) -> list[int]:
    """The batch of every step: all in random order, again and again."""
    generator = np.random.default_rng(seed)
    rounds = -(-n_steps // len(numbers))
    return [int(n) for _ in range(rounds) for n in generator.permutation(numbers)][:n_steps]


def train(
    tuned: Sequence[nn.Parameter],
    backward: Backward,
    order: Sequence[int],
    learning_rate: float,
    progress: Progress | None = None,
) -> None:
    """Move some parameters in place, one step for every batch in `order`; no gradients are left on."""
    if not order or not tuned:
        return
    for parameter in tuned:
        parameter.requires_grad_(True)
    optimizer = torch.optim.AdamW(tuned, lr=learning_rate, betas=BETAS, weight_decay=0.0)
    try:
        for step, number in enumerate(order):
            for group in optimizer.param_groups:
                group["lr"] = learning_rate * _schedule(step, len(order))
            backward(number)
            optimizer.step()
            optimizer.zero_grad(set_to_none=True)
            if progress is not None:
                progress(step + 1, len(order))
    finally:
        for parameter in tuned:
            parameter.requires_grad_(False)


def _schedule(step: int, n_steps: int) -> float:
    """Share of the learning rate: a short rise, then a straight line down."""
    return min(1.0, (step + 1) / WARMUP_STEPS) * (n_steps - step) / n_steps
