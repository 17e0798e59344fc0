"""Plain truncated SVD: every weight counts the same."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from tersor.lowrank.base import FactorizerInfo, Floats, Pair, describes
from tersor.lowrank.truncation import truncate
from tersor.lowrank.whitening import Whitening
from tersor.quant.base import TensorStatistics

INFO = FactorizerInfo(
    name="svd",
    summary="truncated singular value decomposition of the weight; needs no text",
    source="Eckart & Young 1936, doi:10.1007/BF02288367",
)


@describes(INFO)
def factorize_svd(weight: Floats, rank: int, stats: TensorStatistics, options: Mapping[str, Any]) -> Pair:
    """Minimise |W - left right|^2. On MiniLM it loses much: use it where no statistics are known."""
    return truncate(weight, rank, Whitening(stats, columns=False, rows=False))
