"""How often each code occurs in the grids of an archive, and what the codes would cost under three models."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from math import prod
from typing import Any

import numpy as np

from tersor.archive import Archive
from tersor.layouts.grid_tables import FIRST_CLASS, N_CLASSES, RANGE, count_codes
from tersor.report.fit import Fit, fit_codes
from tersor.report.names import role_of

MAX_CODES = 1 << 21
"""Codes counted for each role; of more, blocks evenly spaced. 2 million give an entropy to about .001 bit."""
MIN_SHARE = 0.005
"""Of all codes, that a role needs for a histogram of its own."""
GRID_LAYOUT = "grid/1"


@dataclass(frozen=True, slots=True)
class CodeHistogram:
    """The codes of all tensors of one role, such as the query matrices of all layers.

    counts: by code, first_code .. first_code + len(counts) - 1; n_codes: counted, of n_all there are.
    entropy: of the codes alone (order 0); by_class: given the entropy class of each, which the file's coder knows;
    fit: the smooth distribution nearest to the counts; stored: bits per weight in the file, everything included.
    """

    role: str
    counts: np.ndarray
    first_code: int
    n_codes: int
    n_all: int
    n_tensors: int
    zeros: float
    entropy: float
    by_class: float
    fit: Fit
    stored: float


def code_histograms(archive: Archive, rows: Sequence[Mapping[str, Any]], limit: int) -> list[CodeHistogram]:
    """The histograms of the `limit` roles with most codes, largest first. rows: `inspect`'s tensors.

    Raises: CorruptError if a block is damaged.
    """
    roles: dict[str, list[Mapping[str, Any]]] = {}
    for row in rows:
        if row["layout"] == GRID_LAYOUT and row["name"] in archive and row["n_bytes"]:
            roles.setdefault(role_of(row["name"]), []).append(row)
    sizes = {role: sum(map(_n_codes, members)) for role, members in roles.items()}
    least = MIN_SHARE * sum(sizes.values())
    large = sorted((role for role in roles if sizes[role] >= least), key=lambda role: (-sizes[role], role))
    return [_histogram(archive, role, roles[role]) for role in large[:limit]]


def _n_codes(row: Mapping[str, Any]) -> int:
    return prod(row["shape"])


def _histogram(archive: Archive, role: str, rows: Sequence[Mapping[str, Any]]) -> CodeHistogram:
    counts = np.zeros((2, N_CLASSES, 2 * RANGE + 1), np.uint64)
    outside = np.zeros((2, N_CLASSES), np.uint64)
    for grid in _sampled(archive, [row["name"] for row in rows]):
        halves = 2 if grid.trellis_rows else 1
        count_codes(grid, FIRST_CLASS, counts[:halves], outside[:halves])
    by_code = counts.sum((0, 1)).astype(np.float64)
    beyond = float(outside.sum())
    joint = np.concatenate([counts, outside[:, :, None]], axis=2).astype(np.float64)
    used = np.flatnonzero(by_code)
    first, last = (int(used[0]), int(used[-1])) if len(used) else (RANGE, RANGE)
    shown = by_code[first : last + 1]
    n_all = sum(map(_n_codes, rows))
    total = by_code.sum() + beyond
    return CodeHistogram(
        role=role,
        counts=shown,
        first_code=first - RANGE,
        n_codes=int(total),
        n_all=n_all,
        n_tensors=len(rows),
        zeros=float(by_code[RANGE] / total) if total else 0.0,
        entropy=_entropy(np.append(by_code, beyond)),
        by_class=_conditional_entropy(joint),
        fit=fit_codes(shown, first - RANGE),
        stored=8 * sum(row["n_bytes"] for row in rows) / n_all if n_all else 0.0,
    )


def _sampled(archive: Archive, names: Sequence[str]) -> Iterator[Any]:
    """The grids of the blocks to count: all, or evenly spaced ones that hold about MAX_CODES codes."""
    tensors = [archive.tensor(name) for name in names]
    n_all = sum(tensor.table.rows * tensor.table.columns for tensor in tensors)
    step = max(1, round(n_all / MAX_CODES))
    place = 0  # counted through all tensors, so that each gives its share
    for tensor in tensors:
        chosen = [number for number in range(len(tensor.table)) if (place + number) % step == 0]
        place += len(tensor.table)
        yield from tensor.grids(chosen)


def _entropy(counts: np.ndarray) -> float:
    """Bits per symbol of a histogram; 0 for an empty one."""
    kept = counts[counts > 0]
    total = kept.sum()
    return abs(float((kept * np.log2(kept / total)).sum() / total)) if total else 0.0


def _conditional_entropy(joint: np.ndarray) -> float:
    """Bits per symbol, the last axis, given the place on all other axes."""
    rows = joint.reshape(-1, joint.shape[-1])
    totals = rows.sum(1)
    total = totals.sum()
    bits = sum(float(n) * _entropy(row) for n, row in zip(totals, rows, strict=True) if n)
    return bits / float(total) if total else 0.0
