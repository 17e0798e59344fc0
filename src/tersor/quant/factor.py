"""The factor that error feedback needs, from a Hessian."""

from __future__ import annotations

import numpy as np
import torch

from tersor.errors import NonFiniteError, ShapeError

MAX_DAMPING_ROUNDS = 8
_COLUMNS_AT_ONCE = 256


def inverse_factor(hessian: np.ndarray, damping: float) -> np.ndarray:
    """Upper triangular U (float32) with H^-1 = U'U, H = hessian / mean diagonal + damping * identity.

    hessian: (n, n), symmetric, positive semidefinite up to rounding. A Hessian of zeros gives the identity scaled.
    damping: > 0; raised tenfold until the Cholesky factorisation exists.
    float64 inside: float32 sums lose the small eigenvalues that the feedback lives on.
    """
    if hessian.ndim != 2 or hessian.shape[0] != hessian.shape[1]:
        raise ShapeError(f"a Hessian is square, got shape {hessian.shape}")
    mean = float(np.diagonal(hessian).mean(dtype=np.float64)) if hessian.size else 0.0
    if not np.isfinite(mean) or not np.isfinite(hessian).all():
        raise NonFiniteError(
            "the Hessian holds NaN or infinity; check the calibration text and the model's dtype"
        )
    # H = R R' with R upper (Cholesky of the matrix read backwards), so U = R^-1: one factorisation, one inverse.
    # In torch's memory, whose alignment is always the same: the last bits of the result may depend on it.
    backwards = torch.empty(hessian.shape, dtype=torch.float64)
    np.divide(hessian[::-1, ::-1], np.float64(mean if mean > 0 else 1.0), out=backwards.numpy())
    for _ in range(MAX_DAMPING_ROUNDS):
        backwards.diagonal().add_(damping)
        lower, failed = torch.linalg.cholesky_ex(backwards)
        if int(failed) == 0:
            break
        damping *= 10
    else:
        raise NonFiniteError(
            f"the Hessian has no Cholesky factor even with damping {damping:g}: it is not semidefinite"
        )
    del backwards  # of a wide layer each of these is large
    return _upper_inverse(lower)


def inverse_row_factor(hessian: np.ndarray, damping: float) -> np.ndarray:
    """Lower triangular L (float32, contiguous) with G^-1 = LL', G = hessian / mean diagonal + damping * identity.

    hessian: of a layer's outputs; damping: as in `inverse_factor`, of which this is the transpose.
    """
    return np.ascontiguousarray(inverse_factor(hessian, damping).T)


def _upper_inverse(lower: torch.Tensor) -> np.ndarray:
    """The inverse of `lower` read backwards, float32, some columns at a time."""
    n = len(lower)
    factor = np.zeros((n, n), np.float32)
    for start in range(0, n, _COLUMNS_AT_ONCE):
        stop = min(n, start + _COLUMNS_AT_ONCE)
        # Columns start..stop of L^-1 are zero above row `start`.
        identity = torch.eye(n - start, stop - start, dtype=torch.float64)
        inverse = torch.linalg.solve_triangular(lower[start:, start:], identity, upper=False)
        factor[: n - start, n - stop : n - start] = inverse.flip(0, 1).numpy()
    return factor
