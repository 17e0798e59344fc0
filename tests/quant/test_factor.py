from __future__ import annotations

import numpy as np
import pytest

from tersor.errors import NonFiniteError, ShapeError
from tersor.quant.factor import inverse_factor, inverse_row_factor


def hessian(n: int, samples: int, seed: int = 0) -> np.ndarray:
    inputs = np.random.RandomState(seed).randn(samples, n) * np.geomspace(0.1, 10, n)
    return (inputs.T @ inputs).astype(np.float32)


def test_factor_is_upper_and_its_square_is_the_damped_inverse() -> None:
    matrix = hessian(24, 100)
    factor = inverse_factor(matrix, 0.01).astype(np.float64)
    damped = matrix / np.diagonal(matrix).mean() + 0.01 * np.eye(24)
    assert np.array_equal(factor, np.triu(factor))
    assert np.diagonal(factor).min() > 0
    np.testing.assert_allclose(factor.T @ factor @ damped, np.eye(24), atol=1e-4)


def test_row_factor_is_lower_and_its_square_is_the_damped_inverse() -> None:
    matrix = hessian(24, 100)
    factor = inverse_row_factor(matrix, 0.15)
    damped = matrix / np.diagonal(matrix).mean() + 0.15 * np.eye(24)
    assert factor.dtype == np.float32
    assert factor.flags.c_contiguous
    assert np.array_equal(factor, np.tril(factor))
    np.testing.assert_allclose(factor.astype(np.float64) @ factor.T @ damped, np.eye(24), atol=1e-4)


def test_scale_of_the_hessian_does_not_matter() -> None:
    matrix = hessian(8, 20)
    np.testing.assert_allclose(inverse_factor(1024 * matrix, 0.01), inverse_factor(matrix, 0.01), rtol=1e-6)


def test_singular_and_zero_hessians_have_a_factor() -> None:
    assert np.isfinite(inverse_factor(hessian(16, 3), 0.01)).all()
    assert np.isfinite(inverse_factor(np.zeros((4, 4), np.float32), 0.01)).all()


def test_damping_grows_until_a_slightly_indefinite_matrix_works() -> None:
    matrix = hessian(16, 40)
    matrix[0, 0] -= 0.1 * np.diagonal(matrix).mean()
    assert np.isfinite(inverse_factor(matrix, 1e-4)).all()


def test_bad_hessians_are_refused() -> None:
    with pytest.raises(NonFiniteError, match="NaN or infinity"):
        inverse_factor(np.full((3, 3), np.nan, np.float32), 0.01)
    with pytest.raises(ShapeError, match=r"square, got shape \(2, 3\)"):
        inverse_factor(np.zeros((2, 3), np.float32), 0.01)
    with pytest.raises(NonFiniteError, match="not semidefinite"):
        inverse_factor(np.array([[1.0, 1e12], [1e12, 1.0]]), 0.01)
