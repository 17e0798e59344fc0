"""Weights and statistics for the tests of quantizers of fixed width."""

from __future__ import annotations

import numpy as np

from tersor.quant import TensorStatistics
from tersor.quant.factor import inverse_factor


def weight_of(rows: int = 48, columns: int = 64, seed: int = 0) -> np.ndarray:
    """Normal weights whose columns differ in scale."""
    random = np.random.RandomState(seed)
    return (random.randn(rows, columns) * np.exp(0.3 * random.randn(columns)) * 0.05).astype(np.float32)


def inputs_of(columns: int = 64, seed: int = 1) -> np.ndarray:
    """Correlated inputs, some columns much larger than others."""
    random = np.random.RandomState(seed)
    mixing = np.eye(columns) + 0.5 * random.randn(columns, columns) / columns**0.5
    return ((random.randn(600, columns) * np.exp(random.randn(columns))) @ mixing).astype(np.float32)


def statistics_of(inputs: np.ndarray) -> TensorStatistics:
    hessian = inputs.T @ inputs
    return TensorStatistics(
        factor=inverse_factor(hessian, 0.01), hessian=hessian, input_scales=np.abs(inputs).mean(axis=0)
    )


def output_error(dense: np.ndarray, weight: np.ndarray, inputs: np.ndarray) -> float:
    """Mean squared error of the outputs, relative to their power."""
    difference = inputs @ (dense - weight).T
    return float(np.square(difference).sum() / np.square(inputs @ weight.T).sum())


def squared_error(dense: np.ndarray, weight: np.ndarray) -> float:
    return float(np.square(dense - weight).sum())
