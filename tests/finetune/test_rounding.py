"""Rounding with gradients straight through, against the formulas of the papers."""

from __future__ import annotations

import math

import numpy as np
import torch

from tersor.finetune.rounding import SIGN_REACH, Alphabet, StraightThrough


def _run(
    x: torch.Tensor, factor: float, alphabet: Alphabet
) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """(output, gradient of the weights, gradient of the step factor) for an upstream gradient of 1, 2, 3, ..."""
    latent = x.clone().requires_grad_(True)
    step = torch.full((x.shape[0], x.shape[1], 1), factor, requires_grad=True)
    output = StraightThrough.apply(latent, step, alphabet, None)
    output.backward(torch.arange(1, x.numel() + 1, dtype=torch.float32).reshape(x.shape))
    assert latent.grad is not None
    assert step.grad is not None
    return output.detach(), latent.grad, step.grad


def test_clipped_integers_pass_gradients_inside_the_range_only() -> None:
    x = torch.tensor([[[0.4, -0.6, 5.0, -9.0]]])
    output, by_weight, _ = _run(x, 1.0, Alphabet("integers", -3, 3))
    assert output.tolist() == [[[0.0, -1.0, 3.0, -3.0]]]
    assert by_weight.tolist() == [[[1.0, 2.0, 0.0, 0.0]]]


def test_the_steps_gradient_is_that_of_lsq() -> None:
    x = torch.tensor([[[0.4, -0.6, 5.0, -9.0]]])
    _, _, by_step = _run(x, 1.0, Alphabet("integers", -3, 3))
    inside = 1 * (0 - 0.4) + 2 * (-1 + 0.6)
    ends = 3 * 3 + 4 * -3
    assert math.isclose(float(by_step), (inside + ends) / math.sqrt(4 * 3), rel_tol=1e-5)


def test_integers_without_ends_are_never_clipped() -> None:
    x = torch.tensor([[[1000.4, -7.6]]])
    output, by_weight, _ = _run(x, 1.0, Alphabet("integers", -math.inf, math.inf))
    assert output.tolist() == [[[1000.0, -8.0]]]
    assert by_weight.tolist() == [[[1.0, 2.0]]]


def test_signs_keep_their_sign_and_the_gradient_stops_far_away() -> None:
    x = torch.tensor([[[0.0, -0.2, 9.0]]])
    output, by_weight, by_step = _run(x, 2.0, Alphabet("signs", -SIGN_REACH, SIGN_REACH))
    assert output.tolist() == [[[2.0, -2.0, 2.0]]]
    assert by_weight.tolist() == [[[1.0, 2.0, 0.0]]]
    assert math.isclose(float(by_step), (1 - 2 + 3) / math.sqrt(3 * SIGN_REACH), rel_tol=1e-5)


def test_a_codebook_takes_the_nearest_entry() -> None:
    values = torch.tensor([-1.0, -0.25, 0.0, 0.5, 1.0])
    alphabet = Alphabet("codebook", -1.0, 1.0, values)
    x = torch.from_numpy(np.random.default_rng(0).normal(size=(2, 3, 50)).astype(np.float32))
    snapped = alphabet.snap(x)
    distance = (x[..., None] - values).abs()
    assert torch.equal((x - snapped).abs(), distance.min(dim=-1).values)
