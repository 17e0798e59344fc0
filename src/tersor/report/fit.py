"""A smooth distribution fitted to a histogram of codes: the generalised normal on the integers."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

_GOLDEN = (5**0.5 - 1) / 2
_SHAPES = (0.3, 4.0)
_N_STEPS = 22  # the interval of a search shrinks to .618^22 = 2.5e-5 of itself
_MARGIN = 3.0  # the support reaches so many times as far as the codes


@dataclass(frozen=True, slots=True)
class Fit:
    """p(code) ~ exp(-(|code - middle| / scale)^shape), summed over the integers to 1.

    shape: 2 is the normal, 1 the Laplace distribution. bits: what a code of the histogram costs under it on average,
    which is never less than the histogram's entropy.
    """

    middle: float
    scale: float
    shape: float
    bits: float

    def probabilities(self, codes: np.ndarray) -> np.ndarray:
        """Of each code, float64; codes: a run of integers that holds all but a sliver of the distribution."""
        found: np.ndarray = np.exp2(_log2_probabilities(codes - self.middle, self.scale, self.shape))
        return found


def fit_codes(counts: np.ndarray, first_code: int) -> Fit:
    """The likeliest Fit of a histogram. counts: by code, first_code on; at least one of them > 0 or all are 0."""
    total = float(counts.sum())
    if not total:
        return Fit(0.0, 1.0, 2.0, 0.0)
    codes = np.arange(first_code, first_code + len(counts), dtype=np.float64)
    middle = float((codes * counts).sum() / total)
    reach = max(1.0, float(np.abs(codes - middle).max()))
    wide = np.arange(np.floor(middle - _MARGIN * reach), np.ceil(middle + _MARGIN * reach) + 1)
    shares = np.zeros(len(wide))
    begin = int(first_code - wide[0])
    shares[begin : begin + len(counts)] = counts / total

    def bits(shape: float, log_scale: float) -> float:
        return abs(float((shares * _log2_probabilities(wide - middle, 2.0**log_scale, shape)).sum()))

    def best_scale(shape: float) -> float:
        return _minimum(lambda log_scale: bits(shape, log_scale), -4.0, float(np.log2(reach)) + 2.0)

    shape = _minimum(lambda s: bits(s, best_scale(s)), *_SHAPES)
    log_scale = best_scale(shape)
    return Fit(middle, 2.0**log_scale, shape, bits(shape, log_scale))


def _log2_probabilities(offsets: np.ndarray, scale: float, shape: float) -> np.ndarray:
    energies = -((np.abs(offsets) / scale) ** shape)
    top = energies.max()
    found: np.ndarray = (energies - top - np.log(np.exp(energies - top).sum())) / np.log(2)
    return found


def _minimum(function: Callable[[float], float], low: float, high: float) -> float:
    """Where a function with one minimum in low .. high has it: golden-section search."""
    a, b = high - _GOLDEN * (high - low), low + _GOLDEN * (high - low)
    at_a, at_b = function(a), function(b)
    for _ in range(_N_STEPS):
        if at_a < at_b:
            high, b, at_b = b, a, at_a
            a = high - _GOLDEN * (high - low)
            at_a = function(a)
        else:
            low, a, at_a = a, b, at_b
            b = low + _GOLDEN * (high - low)
            at_b = function(b)
    return (low + high) / 2
