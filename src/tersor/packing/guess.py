"""Which float type the bytes of an unknown file look like, so that its entropy tables can be made for it."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from tersor.layouts.geometry import DENSE_BLOCK_ELEMENTS, choose_blocks
from tersor.types import TensorSpec

_SAMPLE_BYTES = 1 << 15
_MIN_BYTES = 1 << 10
# Bits of entropy in a byte. Exponents of weights have 2 to 5; mantissas nearly 8; text 4 to 5 at every place.
_EXPONENT_BITS = 6.5
_MANTISSA_BITS = 7.0
_BF16_EXPONENT_BITS = 4.0


def guess_floats(data: np.ndarray) -> Iterator[tuple[TensorSpec, np.ndarray]]:
    """Yield the blocks of a file, uint8 (n,), that look like floats, as tensors of that type.

    The blocks are those that the dense layout cuts: a table fits rows of the length that it was made for.
    """
    n_block_bytes = choose_blocks(1, data.size, DENSE_BLOCK_ELEMENTS).columns
    for begin in range(0, data.size, max(n_block_bytes, 1)):
        chunk = data[begin : begin + n_block_bytes]
        dtype = guess_dtype(chunk)
        if dtype is not None:
            spec = TensorSpec("guess", dtype, ())
            size = spec.numpy_dtype.itemsize
            array = np.ascontiguousarray(chunk[: chunk.size // size * size]).view(spec.numpy_dtype)[None, :]
            yield TensorSpec("guess", dtype, array.shape), array


def guess_dtype(chunk: np.ndarray) -> str | None:
    """Return "F32", "BF16" or "F16" if a sample from the middle looks like weights of that type, else None."""
    if chunk.size < _MIN_BYTES:
        return None
    middle = max(chunk.size - _SAMPLE_BYTES, 0) // 2 // 4 * 4
    sample = chunk[middle : middle + _SAMPLE_BYTES]
    places = sample[: sample.size // 4 * 4].reshape(-1, 4)
    low, second, third, top = (_entropy(np.bincount(places[:, place])) for place in range(4))
    if top > _EXPONENT_BITS or low < _MANTISSA_BITS or third < _MANTISSA_BITS:
        return None
    if second > _EXPONENT_BITS:
        return "F32"
    words = np.ascontiguousarray(places).view("<u2").reshape(-1)
    exponents = _entropy(np.bincount(words >> 7 & 255))
    return "BF16" if exponents < _BF16_EXPONENT_BITS else "F16"


def _entropy(counts: np.ndarray) -> float:
    """Bits per symbol of a histogram."""
    share = counts[counts > 0] / counts.sum()
    return float(-(share * np.log2(share)).sum())
