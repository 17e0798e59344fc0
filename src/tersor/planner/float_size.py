"""What a tensor takes that is stored as floats, roughly."""

from __future__ import annotations

import math

from tersor.planner.plan import TensorPlan
from tersor.types import DTYPES

# Lossless coding of floats; what small kept tensors cost matters little.
LOSSLESS_SHARE = 0.85


def float_bytes(tensor: TensorPlan) -> float:
    """Estimated bytes of a tensor of method "keep" or "float": its floats, without zeros, and where those are."""
    spec = tensor.stored_spec
    itemsize = DTYPES[spec.dtype][0] / 8
    if tensor.low_rank is None:
        return _sparse_bytes(tensor, itemsize)
    rows, columns = tensor.matrix_shape
    rank = tensor.low_rank.rank_of((rows, columns))
    n_bytes = LOSSLESS_SHARE * itemsize * rank * (rows + columns - rank)
    return n_bytes + (_sparse_bytes(tensor, itemsize) if tensor.low_rank.residual else 0.0)


def _sparse_bytes(tensor: TensorPlan, itemsize: float) -> float:
    """Bytes of the elements that stay, and the entropy of the mask."""
    n_elements, kept = tensor.spec.n_elements, 1.0 if tensor.prune is None else tensor.prune.share_kept
    return n_elements * (LOSSLESS_SHARE * itemsize * kept + _entropy(kept) / 8)


def _entropy(share: float) -> float:
    """Bits per place of a mask that keeps a share at random."""
    if not 0 < share < 1:
        return 0.0
    return -share * math.log2(share) - (1 - share) * math.log2(1 - share)
