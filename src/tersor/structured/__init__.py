"""Structured pruning: models with fewer layers, heads, neurons or channels, which run faster and reload.

`StructuredStep` and the registry `STRUCTURED` say what can be removed (no torch is imported for that); `reduce` makes
the smaller model, `save_reduced` writes it as a checkpoint.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

from tersor.structured.steps import STRUCTURED, StructuredInfo, StructuredStep

if TYPE_CHECKING:
    from tersor.structured.reduction import Reduction, reduce
    from tersor.structured.save import save_reduced

__all__ = ["STRUCTURED", "Reduction", "StructuredInfo", "StructuredStep", "reduce", "save_reduced"]

# Imported when asked for: they need torch, and a recipe is checked without it.
_LATER = {
    "Reduction": "tersor.structured.reduction",
    "reduce": "tersor.structured.reduction",
    "save_reduced": "tersor.structured.save",
}


def __getattr__(name: str) -> Any:
    if name not in _LATER:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(_LATER[name]), name)
