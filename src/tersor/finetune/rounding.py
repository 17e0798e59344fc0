"""Rounding that gradients pass straight through, with steps that learn (LSQ).

Forward: step * (snap(x) - zero), x = weight / step + zero. Backward: the weight's gradient passes where x lies inside
the range, and is dropped beyond it (Bengio et al. 1308.3432; Esser et al. 1902.08153); the step's is snap(x) - x inside
and snap(x) at the clipped ends, times 1 / sqrt(n Q).
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any, Literal

import torch

Kind = Literal["integers", "signs", "codebook"]
# Signs have no ends: a latent weight this many magnitudes away from its sign's change no longer moves further.
SIGN_REACH = 4.0


@dataclass(frozen=True, slots=True)
class Alphabet:
    """The levels that a code may stand for.

    kind: "integers" low .. high; "signs" -1 and 1; "codebook": values, ascending. low, high: where gradients stop; of
    integers without ends they are infinite.
    """

    kind: Kind
    low: float
    high: float
    values: torch.Tensor | None = None

    def snap(self, x: torch.Tensor) -> torch.Tensor:
        """The nearest level of each element (half to even); of signs 0 counts as +."""
        if self.kind == "signs":
            return torch.where(x < 0, -1.0, 1.0)
        if self.kind == "codebook":
            assert self.values is not None
            return self.values[self.nearest(x)]
        rounded = torch.round(x)
        return rounded if math.isinf(self.high) else rounded.clamp_(self.low, self.high)

    def nearest(self, x: torch.Tensor) -> torch.Tensor:
        """Number of the nearest codebook entry."""
        assert self.values is not None
        middles = (self.values[1:] + self.values[:-1]) / 2
        return torch.bucketize(x, middles)

    @property
    def gradient_scale_base(self) -> float:
        """Q of LSQ's gradient scale: the largest level; 1 where there is none."""
        return 1.0 if math.isinf(self.high) else max(1.0, self.high)


class StraightThrough(torch.autograd.Function):
    """(x, factor, alphabet, zero) -> snapped levels less zero, times factor; see the module.

    x: (rows, groups, size), weights in units of the steps as they were. factor: (rows, groups, 1), of the steps now
    over the steps as they were. zero: like factor, levels.
    """

    @staticmethod
    def forward(
        ctx: Any, x: torch.Tensor, factor: torch.Tensor, alphabet: Alphabet, zero: torch.Tensor | None
    ) -> torch.Tensor:
        scaled = x / factor if zero is None else x / factor + zero
        levels = alphabet.snap(scaled)
        ctx.alphabet = alphabet
        ctx.save_for_backward(scaled, levels)
        ctx.zero = zero
        return (levels if zero is None else levels - zero) * factor

    @staticmethod
    def backward(ctx: Any, gradient: torch.Tensor) -> Any:
        scaled, levels = ctx.saved_tensors
        alphabet: Alphabet = ctx.alphabet
        bounded = not math.isinf(alphabet.high)
        inside = (scaled >= alphabet.low) & (scaled <= alphabet.high) if bounded else None
        by_factor = None
        if ctx.needs_input_grad[1]:
            by_factor = _factor_gradient(gradient, scaled, levels, inside, ctx.zero, alphabet)
        by_weight = gradient if inside is None else gradient * inside
        return by_weight, by_factor, None, None


def _factor_gradient(
    gradient: torch.Tensor,
    scaled: torch.Tensor,
    levels: torch.Tensor,
    inside: torch.Tensor | None,
    zero: torch.Tensor | None,
    alphabet: Alphabet,
) -> torch.Tensor:
    """Sum over each group of gradient * (level - x inside, level - zero beyond), times LSQ's scale."""
    if alphabet.kind == "signs":
        parts = gradient * levels  # a magnitude has no rounding error of its own (XNOR-Net)
    else:
        ends = levels if zero is None else levels - zero
        within = levels - scaled
        parts = gradient * (within if inside is None else torch.where(inside, within, ends))
    scale = 1.0 / math.sqrt(scaled.shape[-1] * alphabet.gradient_scale_base)
    return scale * parts.sum(dim=-1, keepdim=True)
