"""The measure of an error E of a matrix, tr(G E H E'), and the coordinates in which it is a plain sum of squares."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from tersor.quant.base import TensorStatistics

if TYPE_CHECKING:
    import torch


class Whitening:
    """E -> T E S with |T E S|^2 = tr(G E H E'), H = S S', G = T' T; what is not known is the identity.

    Made of the damped factors that calibration leaves: S = U^-1 of `stats.factor`, T = L^-1 of `stats.row_factor`.
    Without a row factor `stats.row_weights` are the diagonal of G. float64: of a Hessian's small eigenvalues float32
    keeps little.
    """

    def __init__(self, stats: TensorStatistics, *, columns: bool = True, rows: bool = True) -> None:
        self._upper = _matrix(stats.factor) if columns else None
        self._lower = _matrix(stats.row_factor) if rows else None
        weights = stats.row_weights if rows and self._lower is None else None
        self._row_roots = None if weights is None else _matrix(np.sqrt(weights, dtype=np.float64))

    def apply(self, matrix: torch.Tensor) -> torch.Tensor:
        """T matrix S."""
        return self.apply_left(self.apply_right(matrix))

    def apply_right(self, matrix: torch.Tensor) -> torch.Tensor:
        """matrix S."""
        import torch

        if self._upper is None:
            return matrix
        solved: torch.Tensor = torch.linalg.solve_triangular(self._upper, matrix, upper=True, left=False)
        return solved

    def apply_left(self, matrix: torch.Tensor) -> torch.Tensor:
        """T matrix."""
        import torch

        if self._lower is not None:
            solved: torch.Tensor = torch.linalg.solve_triangular(self._lower, matrix, upper=False)
            return solved
        return matrix if self._row_roots is None else self._row_roots[:, None] * matrix

    def undo_left(self, left: torch.Tensor) -> torch.Tensor:
        """T^-1 left."""
        if self._lower is not None:
            return self._lower @ left
        return left if self._row_roots is None else left / self._row_roots[:, None]

    def undo_right(self, right: torch.Tensor) -> torch.Tensor:
        """right S^-1."""
        return right if self._upper is None else right @ self._upper


def to_float64(matrix: np.ndarray) -> torch.Tensor:
    """A copy in torch's memory, whose alignment is always the same: the last bits of a result may depend on it."""
    import torch

    return torch.from_numpy(np.array(matrix)).to(torch.float64)


def _matrix(array: np.ndarray | None) -> torch.Tensor | None:
    return None if array is None else to_float64(array)
