"""Stored forms of a tensor: `LAYOUTS.get("grid/1")` encodes it into blocks and decodes them.

To add a layout, write `layouts/x.py` with a class that keeps the contract of `base.Layout`, add its line here,
and its section to docs/format.md. A published "name/version" never changes meaning.
"""

from __future__ import annotations

from tersor.layouts.base import Alias, Context, Dense, Encoded, Layout, Sparse
from tersor.layouts.delta import DELTA_LAYOUT, Delta
from tersor.layouts.grid import Grid
from tersor.layouts.low_rank import LOW_RANK_LAYOUT, LowRank
from tersor.layouts.sparse_values import SPARSE_LAYOUT
from tersor.registry import Registry

LAYOUTS: Registry[type[Layout]] = Registry(
    "layout",
    {
        "dense/1": "tersor.layouts.dense:DenseLayout",
        "grid/1": "tersor.layouts.grid_layout:GridLayout",
        "alias/1": "tersor.layouts.alias:AliasLayout",
        "delta/1": "tersor.layouts.delta:DeltaLayout",
        LOW_RANK_LAYOUT: "tersor.layouts.low_rank:LowRankLayout",
        SPARSE_LAYOUT: "tersor.layouts.sparse_layout:SparseLayout",
    },
)

_LAYOUT_OF = {
    Dense: "dense/1",
    Grid: "grid/1",
    Alias: "alias/1",
    Delta: DELTA_LAYOUT,
    LowRank: LOW_RANK_LAYOUT,
    Sparse: SPARSE_LAYOUT,
}


def layout_of(value: Dense | Grid | Alias | Delta | LowRank | Sparse) -> str:
    """Return the name of the layout that stores an in-memory form."""
    return _LAYOUT_OF[type(value)]


def make_layout(name: str) -> Layout:
    """Return the layout registered as "name/version". Raises: UnknownNameError."""
    return LAYOUTS.get(name)()


__all__ = [
    "LAYOUTS",
    "Alias",
    "Context",
    "Delta",
    "Dense",
    "Encoded",
    "Grid",
    "Layout",
    "LowRank",
    "Sparse",
    "layout_of",
    "make_layout",
]
