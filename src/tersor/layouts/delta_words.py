"""What a delta stores of an element: its distance from the base, in units of the last place (docs/format.md 4.4)."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

EQUAL, DIFFERENCE, XOR = range(3)
KIND_NAMES = ("equal", "difference", "xor")
# dtype -> first bit and width of the exponent.
EXPONENTS = {
    "F64": (52, 11),
    "F32": (23, 8),
    "BF16": (7, 8),
    "F16": (10, 5),
    "F8_E4M3": (3, 4),
    "F8_E5M2": (2, 5),
}

Words = npt.NDArray[Any]


def as_words(array: npt.NDArray[Any]) -> Words:
    """Return the bit patterns of a C-contiguous array (complex ones as U64), of the same shape; shares its memory."""
    return array.reshape(-1).view(f"<u{array.itemsize}").reshape(array.shape)


def differences(kind: int, dtype: str, words: Words, base: Words) -> Words:
    """Return XOR, or the difference of the ordered patterns, negated where the base is negative.

    So a weight that moves away from zero has a positive difference, whatever its sign: weight decay shows.
    """
    if kind == XOR:
        return words ^ base
    distance = _ordered(dtype, words) - _ordered(dtype, base)
    return np.where(_is_negative(dtype, base), ~distance + base.dtype.type(1), distance)


def apply_differences(kind: int, dtype: str, stored: Words, base: Words) -> Words:
    """Return the words of which `differences` made `stored`."""
    if kind == XOR:
        return stored ^ base
    distance = np.where(_is_negative(dtype, base), ~stored + base.dtype.type(1), stored)
    ordered = _ordered(dtype, base) + distance
    if dtype not in EXPONENTS:
        return ordered
    top = _top_bit(ordered)
    return np.where(ordered & top, ordered ^ top, ~ordered)


def exponents(dtype: str, base: Words) -> npt.NDArray[np.uint32]:
    """Return the exponent fields; 0 for types without one."""
    first, width = EXPONENTS.get(dtype, (0, 0))
    fields = base >> base.dtype.type(first) & base.dtype.type((1 << width) - 1)
    narrow: npt.NDArray[np.uint32] = fields.astype(np.uint32)
    return narrow


def _ordered(dtype: str, words: Words) -> Words:
    """Map the bit patterns of floats to consecutive integers in the order of their values; integers stay."""
    if dtype not in EXPONENTS:
        return words
    top = _top_bit(words)
    return np.where(words & top, ~words, words | top)


def _is_negative(dtype: str, words: Words) -> npt.NDArray[np.bool_]:
    if dtype not in EXPONENTS:
        return np.zeros(words.shape, np.bool_)
    negative: npt.NDArray[np.bool_] = (words & _top_bit(words)) != 0
    return negative


def _top_bit(words: Words) -> Any:
    return words.dtype.type(1 << (8 * words.itemsize - 1))
