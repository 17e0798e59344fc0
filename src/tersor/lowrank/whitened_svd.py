"""SVD of the weight whitened by its inputs, as SVD-LLM does."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from tersor.lowrank.base import FactorizerInfo, Floats, Pair, describes
from tersor.lowrank.truncation import truncate
from tersor.lowrank.whitening import Whitening
from tersor.quant.base import TensorStatistics

INFO = FactorizerInfo(
    name="whitened_svd",
    summary="SVD that minimises the error of the layer's outputs on calibration text",
    source="SVD-LLM, arXiv:2403.07378",
    needs=frozenset({"factor"}),
)


@describes(INFO)
def factorize_whitened_svd(
    weight: Floats, rank: int, stats: TensorStatistics, options: Mapping[str, Any]
) -> Pair:
    """Minimise tr((W - left right) H (W - left right)') for the damped input Hessian H = S S'.

    S is the inverse of the factor that error feedback uses, the published Cholesky factor up to a rotation.
    """
    return truncate(weight, rank, Whitening(stats, rows=False))
