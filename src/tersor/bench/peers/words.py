"""A file as an array of numbers, for coders that want those."""

from __future__ import annotations

from typing import Any

NUMPY_NAMES = {"F16": "float16", "F32": "float32", "F64": "float64", "BF16": "uint16"}
"""By safetensors dtype; numpy has no bfloat16, so coders get its bits. All others are bytes."""


def split_words(data: bytes | bytearray, dtype: str) -> tuple[Any, bytes]:
    """Return the file as a one-dimensional numpy array, and the bytes at its end that fill no element."""
    import numpy as np

    numpy_dtype = np.dtype(NUMPY_NAMES.get(dtype, "uint8"))
    n_words = len(data) // numpy_dtype.itemsize
    return np.frombuffer(data, numpy_dtype, n_words), bytes(data[n_words * numpy_dtype.itemsize :])
