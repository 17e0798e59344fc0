"""The factor that error feedback needs, from a Hessian."""

from __future__ import annotations

import numpy as np

from tersor.errors import NonFiniteError, ShapeError

MAX_DAMPING_ROUNDS = 8


def inverse_factor(hessian: np.ndarray, damping: float) -> np.ndarray:
    """Upper triangular U (float32) with H^-1 = U'U, H = hessian / mean diagonal + damping * identity.

    hessian: (n, n), symmetric, positive semidefinite up to rounding. A Hessian of zeros gives the identity scaled.
    damping: > 0; raised tenfold until the Cholesky factorisation exists.
    float64 inside: float32 sums lose the small eigenvalues that the feedback lives on.
    """
    import torch

    if hessian.ndim != 2 or hessian.shape[0] != hessian.shape[1]:
        raise ShapeError(f"a Hessian is square, got shape {hessian.shape}")
    mean = float(np.diagonal(hessian).mean(dtype=np.float64)) if hessian.size else 0.0
    if not np.isfinite(mean) or not np.isfinite(hessian).all():
        raise NonFiniteError("the Hessian holds NaN or infinity; check the calibration text and the model's dtype")
    # H = R R' with R upper (Cholesky of the matrix read backwards), so U = R^-1: one factorisation, one inverse.
    backwards = torch.from_numpy(hessian[::-1, ::-1] / np.float64(mean if mean > 0 else 1.0))
    for _ in range(MAX_DAMPING_ROUNDS):
        backwards.diagonal().add_(damping)
        lower, failed = torch.linalg.cholesky_ex(backwards)
        if int(failed) == 0:
            break
        damping *= 10
    else:
        raise NonFiniteError(f"the Hessian has no Cholesky factor even with damping {damping:g}; it is not semidefinite")
    del backwards  # of a wide layer each of these is large
    inverse = torch.linalg.solve_triangular(lower, torch.eye(len(lower), dtype=torch.float64), upper=False)
    del lower
    return np.ascontiguousarray(inverse.flip(0, 1).to(torch.float32).numpy())
