"""Statistics of both sides for the tests of factorizers."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from matrices import inputs_of, statistics_of, weight_of
from tersor.quant import TensorStatistics
from tersor.quant.factor import inverse_row_factor


@pytest.fixture(scope="session")
def weight() -> np.ndarray:
    return weight_of(36, 48)


@pytest.fixture(scope="session")
def stats() -> TensorStatistics:
    """Of a weight of 36 x 48, inputs and outputs both correlated."""
    outputs = inputs_of(36, seed=5)
    hessian = outputs.T @ outputs
    return replace(
        statistics_of(inputs_of(48)),
        row_factor=inverse_row_factor(hessian, 0.15),
        output_hessian=hessian,
        row_weights=np.diagonal(hessian) / np.diagonal(hessian).mean(),
    )
