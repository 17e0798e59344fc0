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
# Where the text is that of the model's task, and counted whole, it says more than Zipf's law does.
TASK_PRIOR_SHARE = 0.2
TASK_TEMPER = 1.0
# An unused token's row still decodes to something: a tenth of the rarest token's share.
UNUSED_SHARE = 0.1
# Language models: the model's own mean prediction is the better count (decoder prototype, DESIGN 5).
PREDICTED_PRIOR_SHARE, COUNT_SHARE, PREDICTED_SHARE = 0.15, 0.35, 0.5
# Of a head: share of token frequencies beside the variance of the predictions, and the exponent (DESIGN 5).
HEAD_FREQUENCY_SHARE = 0.2
HEAD_TEMPER = 0.9
_ENERGY_PRIOR_USES = 5.0


def row_weights(
    counts: np.ndarray,
    energy: np.ndarray | None,
    *,
    is_vocabulary: bool,
    uses: np.ndarray | None = None,
    unused: Sequence[int] = (),
    predicted: np.ndarray | None = None,
    is_task: bool = False,
) -> np.ndarray:
    """Importance of each row, float64 > 0 with mean 1: (frequency * energy per use) ** TEMPER.

    counts: (rows,) uses in the whole text. energy: (rows,) sum of squared gradients over some of these uses, or None.
    uses: (rows,) those; None: all of them. is_task: TASK_PRIOR_SHARE and TASK_TEMPER count.
    predicted: (rows,) how often the model itself expects each token (language models), of any scale.
    """
    prior_share, temper = (TASK_PRIOR_SHARE, TASK_TEMPER) if is_task else (PRIOR_SHARE, TEMPER)
    shares = [(prior_frequency(len(counts), is_vocabulary, unused), prior_share), (counts, 1 - prior_share)]
    if predicted is not None:
        shares = [(shares[0][0], PREDICTED_PRIOR_SHARE), (counts, COUNT_SHARE), (predicted, PREDICTED_SHARE)]
    frequency = mixed(shares)
    weights = (frequency * _energy_per_use(counts if uses is None else uses, energy)) ** temper
    return np.asarray(weights / weights.mean())


def head_weights(variance: np.ndarray, counts: np.ndarray, unused: Sequence[int] = ()) -> np.ndarray:
    """Importance of each row of a head over a vocabulary, float64 > 0 with mean 1.

    variance: (rows,) sum of p (1 - p) over predictions. counts: (rows,) uses of the tokens in the text.
    """
    prior = prior_frequency(len(counts), True, unused)
    frequency = mixed([(prior, PRIOR_SHARE), (counts, 1 - PRIOR_SHARE)])
    weights = mixed([(variance, 1 - HEAD_FREQUENCY_SHARE), (frequency, HEAD_FREQUENCY_SHARE)]) ** HEAD_TEMPER
    return np.asarray(weights / weights.mean())


def prior_frequency(rows: int, is_vocabulary: bool, unused: Sequence[int] = ()) -> np.ndarray:
    """Zipf-Mandelbrot's law over the rows, sum 1."""
    prior = 1.0 / (
        np.arange(rows, dtype=np.float64) + (VOCABULARY_OFFSET if is_vocabulary else POSITION_OFFSET)
    )
    if is_vocabulary and len(unused):
        prior[list(unused)] = prior.min() * UNUSED_SHARE
    return np.asarray(prior / prior.sum())


def mixed(shares: Sequence[tuple[np.ndarray, float]]) -> np.ndarray:
    """Weighted mean of vectors, each scaled to sum 1; vectors of zeros leave their share to the others."""
    used = [(values.astype(np.float64) / values.sum(), share) for values, share in shares if values.sum() > 0]
    total = sum(share for _, share in used)
    return np.asarray(sum(values * (share / total) for values, share in used))


def _energy_per_use(counts: np.ndarray, energy: np.ndarray | None) -> np.ndarray:
    """Mean squared gradient of a use of each row, shrunk to the mean of all rows; ones without gradients."""
    if energy is None or not energy.any():
        return np.ones(len(counts))
    mean = float(energy.sum() / max(counts.sum(), 1.0))
    shrunk = (energy + _ENERGY_PRIOR_USES * mean) / (counts + _ENERGY_PRIOR_USES)
    return np.asarray(shrunk / mean, np.float64)
