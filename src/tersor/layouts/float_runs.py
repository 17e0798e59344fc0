"""Level max: which symbols of a table are coded, so that an encoder need only compare with two limits."""

from __future__ import annotations

import numpy as np

from tersor.layouts.tables import Counts

# Fields rarer than one in so many, with both signs, end a run. MiniLM BF16: 4096 .65401, 8192 .65349, 16384 .65332.
RARE_FIELD = 16384
FIRST_FIELD, FIELDS = 4, 64  # of the exponents and mantissa bits that a symbol can hold


def coded_runs(counts: Counts) -> Counts:
    """Return counts (tables, 128) in which the symbols of one run of fields, of either sign, are above 0.

    The counts of all other symbols go to symbol 0, the escape. Scaled by 4, so that what was not seen counts a quarter.
    """
    by_sign = counts.reshape(-1, 2, FIELDS)
    fields = by_sign.sum(axis=1)  # (tables, fields)
    total = fields.sum(axis=1, keepdims=True)
    common = (fields * np.uint64(RARE_FIELD) >= np.maximum(total, 1)) & (np.arange(FIELDS) >= FIRST_FIELD)
    first = common.argmax(axis=1)[:, None]
    last = FIELDS - 1 - common[:, ::-1].argmax(axis=1)[:, None]
    place = np.arange(FIELDS)
    is_coded = (place >= first) & (place <= last) & common.any(axis=1, keepdims=True)
    runs = np.where(is_coded[:, None], by_sign * np.uint64(4) + np.uint64(1), np.uint64(0))
    runs = runs.reshape(counts.shape)
    runs[:, 0] = (total[:, 0] - np.where(is_coded, fields, 0).sum(axis=1)) * np.uint64(4) + np.uint64(1)
    return runs
