"""How a pruner describes itself, as tersor.quant.info does for quantizers."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from tersor.quant.info import STATISTICS, Option, resolve_options


@dataclass(frozen=True, slots=True)
class PruneInfo:
    """A pruner's own description.

    needs: the parts of TensorStatistics without which it raises. moves_weights: kept weights change too (feedback).
    source: where it was published. summary: one line.
    """

    name: str
    source: str
    summary: str
    options: Mapping[str, Option] = field(default_factory=dict)
    needs: frozenset[str] = frozenset()
    moves_weights: bool = False

    def __post_init__(self) -> None:
        if unknown := sorted(self.needs - STATISTICS):
            raise ValueError(f"pruner {self.name!r}: unknown needs {unknown}; known: {sorted(STATISTICS)}")

    def resolve(self, options: Mapping[str, Any]) -> dict[str, Any]:
        """Every option's value: those given, checked, over the defaults. Raises: UsageError naming the option."""
        return resolve_options(f"pruner {self.name!r}", self.options, options)
