"""Column scales for awq and smoothquant: a grid of the scaled weight whose column exponents undo the scales."""

from __future__ import annotations

import numpy as np

from tersor.quant.base import TensorStatistics
from tersor.quant.steps import quarter_octaves, steps_of

# Inputs below this share of the largest count as this: AWQ and SmoothQuant clamp likewise.
_LEAST_INPUT = 1e-4


def input_magnitudes(stats: TensorStatistics) -> np.ndarray | None:
    """How large each input is (float64, > 0): its mean magnitude, else its root mean square from the Hessian."""
    if stats.input_scales is not None:
        magnitudes = np.abs(stats.input_scales.astype(np.float64))
    elif stats.hessian is not None:
        magnitudes = np.sqrt(np.maximum(np.diagonal(stats.hessian).astype(np.float64), 0.0))
    else:
        return None
    largest = float(magnitudes.max(initial=0.0))
    return np.maximum(magnitudes, _LEAST_INPUT * largest) if np.isfinite(largest) and largest > 0 else None


def exponents_of_scales(scales: np.ndarray) -> np.ndarray:
    """Column exponents (int16) of 1 / scale, to the quarter octave, scales moved to a geometric mean of 1."""
    logs = np.log(scales)
    return quarter_octaves(np.exp(logs.mean() - logs))


class ScaledColumns:
    """A problem whose columns are divided by their exponents' steps: weight, factor and weights of squared errors."""

    def __init__(self, exponents: np.ndarray) -> None:
        self.exponents = exponents
        self._steps = steps_of(exponents)

    def weight(self, weight: np.ndarray) -> np.ndarray:
        """weight / step: what is rounded."""
        return np.asarray(weight / self._steps, np.float32)

    def factor(self, factor: np.ndarray | None) -> np.ndarray | None:
        """U / step, since the inputs of the scaled weight are the inputs times the steps."""
        return None if factor is None else np.asarray(factor / self._steps, np.float32)

    def error_weights(self, weights: np.ndarray) -> np.ndarray:
        """An error of the scaled weight counts step^2 times."""
        return np.asarray(weights * np.square(self._steps), np.float32)

    def restore(self, scaled: np.ndarray) -> np.ndarray:
        """scaled * step: back to the units of the weight."""
        return np.asarray(scaled * self._steps)
