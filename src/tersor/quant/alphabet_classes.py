"""Entropy classes of codes from an alphabet: which row and column scales pay, and a range of classes of its own.

Codes of an unbounded grid are told apart by their expected size. Codes of a small alphabet are not like them: a table
that both share would fit neither. So alphabets of few integers and codebooks get classes below every size that an
unbounded grid has (all of whose codes would be zero there).
"""

from __future__ import annotations

import numpy as np

from tersor.quant.alphabet import Alphabet
from tersor.quant.classes import expected_classes, exponent_bits

# Classes of integers with at least this many codes are those of unbounded codes: quarter octaves of their size.
MIN_INTEGERS = 7
_SIGN_CLASS = -124
_FEW_INTEGERS_CLASS = -118
_CODEBOOK_CLASSES = ((4, -109), (8, -100), (16, -91), (32, -82), (1 << 16, -73))  # up to n levels: class
_OFFSET_LIMIT = 2  # of rows and of columns each, in half octaves: 4 below or above never meet the next range
_SAMPLE_ELEMENTS = 1 << 20


def alphabet_classes(
    codes: np.ndarray, sizes: np.ndarray, alphabet: Alphabet
) -> tuple[np.ndarray, np.ndarray]:
    """Row and column classes (int16) of codes.

    sizes: float32, same shape, >= 0: how large each code's level is, in units of its scale.
    """
    rows, columns = codes.shape
    if alphabet.n_codes == 2:
        return np.full(rows, _SIGN_CLASS, np.int16), np.zeros(columns, np.int16)
    if not codes.size:
        return np.zeros(rows, np.int16), np.zeros(columns, np.int16)
    row_classes, column_classes = expected_classes(
        sizes, np.ones(rows, np.float32), np.ones(columns, np.float32)
    )
    base = _range_of(alphabet)
    if base is not None:
        row_classes, column_classes = base + _half_octaves(row_classes), _half_octaves(column_classes)
    return _cheapest(codes, row_classes, column_classes)


def _range_of(alphabet: Alphabet) -> np.int16 | None:
    """The middle of the alphabet's own range of classes, or None if it has none."""
    if alphabet.codebook is not None:
        return np.int16(next(c for n, c in _CODEBOOK_CLASSES if alphabet.n_codes <= n))
    return np.int16(_FEW_INTEGERS_CLASS) if alphabet.n_codes < MIN_INTEGERS else None


def _half_octaves(classes: np.ndarray) -> np.ndarray:
    """Half octaves above or below the median class, limited."""
    offsets = np.rint((classes - np.median(classes)) / 2)
    return np.asarray(np.clip(offsets, -_OFFSET_LIMIT, _OFFSET_LIMIT), np.int16)


def _cheapest(codes: np.ndarray, rows: np.ndarray, columns: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Both classes, one of them, or one class for all: by the entropy of a sample of rows and side information."""
    flat_rows = np.full_like(rows, int(np.rint(np.median(rows))))
    flat_columns = np.full_like(columns, int(np.rint(np.median(columns))))
    candidates = [(flat_rows, flat_columns), (flat_rows, columns), (rows, flat_columns), (rows, columns)]
    stride = max(codes.size // _SAMPLE_ELEMENTS, 1)
    sample = codes[::stride]
    costs = [
        conditional_entropy_bits(sample, a[::stride], b) * (len(codes) / len(sample))
        + exponent_bits(a)
        + exponent_bits(b)
        for a, b in candidates
    ]
    return candidates[int(np.argmin(costs))]


def conditional_entropy_bits(codes: np.ndarray, rows: np.ndarray, columns: np.ndarray) -> float:
    """Bits of all codes by an ideal coder that knows the histogram of each class of this matrix."""
    lowest, highest = int(codes.min()), int(codes.max())
    classes = rows.astype(np.int64)[:, None] + columns[None, :]
    n_symbols = highest - lowest + 1
    joint = (classes - classes.min()) * n_symbols + (codes - lowest)
    counts = np.bincount(joint.ravel())
    counts = np.pad(counts, (0, -len(counts) % n_symbols)).reshape(-1, n_symbols)
    totals = np.broadcast_to(counts.sum(axis=1, keepdims=True), counts.shape)
    used = counts > 0
    return float(-(counts[used] * np.log2(counts[used] / totals[used])).sum())
