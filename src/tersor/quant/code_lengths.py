"""Bits that a code costs, by entropy class: what rate-distortion rounding weighs against the error."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache

import numpy as np

# Magnitudes beyond cost as much as this one: there, neighbouring codes differ by less than .03 bit.
REACH = 127
FIRST_CLASS, LAST_CLASS = -64, 64
N_CLASSES = LAST_CLASS - FIRST_CLASS + 1
# A class seen less often than this is mostly the prior.
_PRIOR_WEIGHT = 20.0
_QUARTERS = 4.0


@dataclass(frozen=True, slots=True, eq=False)
class CodeLengths:
    """bits: float32 (halves, N_CLASSES, REACH + 1), >= 0: of a code of a magnitude, its sign included.

    halves: 1 for plain codes; 2 for trellis codes, even states first. Class FIRST_CLASS + c is bits[:, c]; classes
    beyond are clamped to the ends.
    """

    bits: np.ndarray

    @property
    def halves(self) -> int:
        return int(self.bits.shape[0])


def fitted_lengths(counts: np.ndarray) -> CodeLengths:
    """Code lengths of histograms, smoothed by the prior where little was seen.

    counts: (halves, N_CLASSES, REACH + 1), >= 0, of code magnitudes; the last includes everything beyond.
    """
    prior = np.exp2(-prior_lengths(counts.shape[0]).bits.astype(np.float64))
    multiplicity = np.where(np.arange(REACH + 1) > 0, 2.0, 1.0)
    prior *= multiplicity / (prior * multiplicity).sum(axis=2, keepdims=True)
    shares = counts + _PRIOR_WEIGHT * prior
    shares /= shares.sum(axis=2, keepdims=True)
    return CodeLengths((-np.log2(shares / multiplicity)).astype(np.float32))


@lru_cache(maxsize=2)
def prior_lengths(halves: int) -> CodeLengths:
    """Code lengths before anything was seen: a Gaussian of the class's scale with a heavier tail.

    halves: 1, levels are the codes; 2, levels are 2k in even states and 2k - sign(k) in odd ones.
    """
    magnitudes = np.arange(REACH + 1)
    scales = np.exp2(np.arange(FIRST_CLASS, LAST_CLASS + 1) / _QUARTERS)[:, None]
    bits = []
    for half in range(halves):
        levels = magnitudes if halves == 1 else np.maximum(2 * magnitudes - half, 0)
        z = levels[None, :] / scales
        density = np.exp(-z * z / 2) + 0.05 * np.exp(-1.2 * z) + 1e-9
        if half == 1:
            density[:, 0] *= 0.5  # its neighbours are at +-1: zero has half the room of other levels
        total = (density * np.where(magnitudes > 0, 2.0, 1.0)).sum(axis=1, keepdims=True)
        bits.append(-np.log2(density / total))
    return CodeLengths(np.stack(bits).astype(np.float32))
