"""Floats as the 16-bit words that float rows code, and back (docs/format.md 4.1, form 2)."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

# Unit numbers of form 2; the coder itself knows only 16-bit words: 0 BF16 (and the upper half of F32), 1 F16.
UNITS = {"BF16": 0, "F16": 1, "F32": 2}
UNIT_BYTES = (2, 2, 4)
WORD_FORMAT = (0, 1, 0)
_SEGMENT = 512  # rows that are no multiple of 32 long would leave vector lanes idle: take runs instead


def float_words(dtype: str, block: npt.NDArray[np.generic]) -> npt.NDArray[np.uint16]:
    """Return the words of a block (rows, columns), row by row: (rows * columns,)."""
    flat = np.ascontiguousarray(block).reshape(-1)
    if dtype == "F32":
        return np.ascontiguousarray(flat.view("<u2")[1::2])
    return flat.view("<u2")


def row_length_of(rows: int, columns: int) -> int:
    """Length of the runs that share a scale class: a block's rows, if there are several that vector code can walk.

    A single long row would train and use the tables of one quarter octave only.
    """
    return columns if rows > 1 and columns % 32 == 0 and columns >= 64 else _SEGMENT
