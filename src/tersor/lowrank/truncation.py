"""The best approximation of a given rank, in whitened coordinates and back."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from tersor.lowrank.base import Floats, Pair
from tersor.lowrank.whitening import Whitening, to_float64

if TYPE_CHECKING:
    import torch


def truncate(weight: Floats, rank: int, whitening: Whitening) -> Pair:
    """The factors of that rank whose product has the least error in the whitening's measure (Eckart and Young)."""
    white = whitening.apply(to_float64(weight))
    basis = _eigenvectors(white)[1][:, -rank:].flip(1)
    if _is_wide(white):
        left, right = basis, basis.T @ white
    else:
        left, right = white @ basis, basis.T
    return balanced(whitening.undo_left(left), whitening.undo_right(right))


def spectrum(weight: Floats, whitening: Whitening) -> npt.NDArray[np.float64]:
    """The squared singular values of the whitened matrix, falling: what each component adds to the error if it goes."""
    values = _eigenvectors(whitening.apply(to_float64(weight)))[0]
    squares: npt.NDArray[np.float64] = np.maximum(values.flip(0).numpy(), 0.0)
    return squares


def balanced(left: torch.Tensor, right: torch.Tensor) -> Pair:
    """The same product, float32, with |left[:, k]| = |right[k]|: both then fit the narrowest type equally well."""
    import torch

    norms = left.norm(dim=0), right.norm(dim=1)
    is_zero = (norms[0] == 0) | (norms[1] == 0)
    scale = torch.where(is_zero, torch.ones_like(norms[0]), (norms[1] / norms[0].clamp_min(1e-300)).sqrt())
    return _array(left * scale), _array(right / scale[:, None])


def _eigenvectors(white: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """Eigenvalues, rising, and eigenvectors of the smaller Gram matrix: a third of the time of an SVD."""
    import torch

    gram = white @ white.T if _is_wide(white) else white.T @ white
    values, vectors = torch.linalg.eigh(gram)
    return values, vectors


def _is_wide(matrix: torch.Tensor) -> bool:
    return matrix.shape[0] <= matrix.shape[1]


def _array(matrix: torch.Tensor) -> Floats:
    import torch

    return np.ascontiguousarray(matrix.to(torch.float32).numpy())
