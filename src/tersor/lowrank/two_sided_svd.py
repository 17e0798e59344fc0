"""SVD of the weight whitened by its inputs and by what its outputs mean for the model."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from tersor.lowrank.base import FactorizerInfo, Floats, Pair, describes
from tersor.lowrank.truncation import truncate
from tersor.lowrank.whitening import Whitening
from tersor.quant.base import TensorStatistics

INFO = FactorizerInfo(
    name="two_sided_svd",
    summary="SVD that minimises the error of the model's output: whitened by inputs and by output gradients",
    source="generalised SVD with row and column metrics; statistics as YAQA, arXiv:2505.22988",
    needs=frozenset({"factor", "row_factor"}),
    fallback="whitened_svd",
)


@describes(INFO)
def factorize_two_sided_svd(
    weight: Floats, rank: int, stats: TensorStatistics, options: Mapping[str, Any]
) -> Pair:
    """Minimise tr(G E H E'), E = W - left right, for the damped end-to-end Hessians of inputs (H) and outputs (G).

    In the coordinates T E S, G = T'T and H = SS', that is |T E S|^2, so the truncated SVD of T W S is the optimum:
    alternating least squares with both weights would only converge to it.
    """
    return truncate(weight, rank, Whitening(stats))
