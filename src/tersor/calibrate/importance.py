"""How much each row of an embedding matters."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

# Zipf-Mandelbrot offsets: vocabularies are roughly ordered by frequency; early positions are used by every text.
VOCABULARY_OFFSET = 200
POSITION_OFFSET = 16
# Counts from a small text starve rare rows: half comes from the prior, and the product is tempered
# (exponent 1 instead of .65: error .0125 instead of .0067 at 3 bits, DESIGN 5).
PRIOR_SHARE = 0.5
TEMPER = 0.65
# An unused token's row still decodes to something: a tenth of the rarest token's share.
UNUSED_SHARE = 0.1
_ENERGY_PRIOR_USES = 5.0


def row_weights(
    counts: np.ndarray,
    energy: np.ndarray | None,
    *,
    is_vocabulary: bool,
    unused: Sequence[int] = (),
) -> np.ndarray:
    """Importance of each row, float64 > 0 with mean 1: (frequency * energy per use) ** TEMPER.

    counts: (rows,) uses in the calibration text. energy: (rows,) sum of squared gradients over these uses, or None.
    """
    rows = np.arange(len(counts), dtype=np.float64)
    prior = 1.0 / (rows + (VOCABULARY_OFFSET if is_vocabulary else POSITION_OFFSET))
    if is_vocabulary and len(unused):
        prior[list(unused)] = prior.min() * UNUSED_SHARE
    prior /= prior.sum()
    total = float(counts.sum())
    frequency = prior if total == 0 else PRIOR_SHARE * prior + (1 - PRIOR_SHARE) * counts / total
    weights = (frequency * _energy_per_use(counts, energy)) ** TEMPER
    return np.asarray(weights / weights.mean())


def _energy_per_use(counts: np.ndarray, energy: np.ndarray | None) -> np.ndarray:
    """Mean squared gradient of a use of each row, shrunk to the mean of all rows; ones without gradients."""
    if energy is None or not energy.any():
        return np.ones(len(counts))
    mean = float(energy.sum() / max(counts.sum(), 1.0))
    shrunk = (energy + _ENERGY_PRIOR_USES * mean) / (counts + _ENERGY_PRIOR_USES)
    return np.asarray(shrunk / mean, np.float64)
