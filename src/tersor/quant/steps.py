"""Steps as integers: a step of exponent e is 2**(e/4), e in quarter octaves."""

from __future__ import annotations

import numpy as np

from tersor.layouts.grid import ROOTS

QUARTERS_PER_OCTAVE = 4
# Half of what the format allows for row + column exponent.
EXPONENT_LIMIT = 240
_GOLDEN = 0.6180339887498949


def steps_of(exponents: np.ndarray) -> np.ndarray:
    """2**(exponents / 4) as float32, by the constants of the format."""
    exponents = exponents.astype(np.int32)
    return np.asarray(np.ldexp(ROOTS[exponents & 3], exponents >> 2), np.float32)


def quarter_octaves(values: np.ndarray) -> np.ndarray:
    """round(4 log2(values)) as int16, kept within +-EXPONENT_LIMIT. values: > 0."""
    exponents = np.rint(QUARTERS_PER_OCTAVE * np.log2(values.astype(np.float64)))
    return np.asarray(np.clip(exponents, -EXPONENT_LIMIT, EXPONENT_LIMIT), np.int16)


def dithered_quarter_octaves(value: float, count: int) -> np.ndarray:
    """`count` exponents (int16), each the one below or above 4 log2(value), whose mean is 4 log2(value).

    A single exponent could only change a tensor's size by a quarter bit per weight at a time; spread over the columns
    the mean step is met closely, so that a size in bytes can be.
    """
    exact = QUARTERS_PER_OCTAVE * np.log2(value)
    spread = np.modf((np.arange(count) + 0.5) * _GOLDEN)[0]
    return np.asarray(np.clip(np.floor(exact + spread), -EXPONENT_LIMIT, EXPONENT_LIMIT), np.int16)
