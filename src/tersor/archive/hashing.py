"""BLAKE3 of what a reader will decode, and whether a tensor's elements are all equal."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from blake3 import blake3

from tersor.archive import limits
from tersor.archive.tensor import as_bytes
from tersor.layouts.base import Dense, Sparse
from tersor.layouts.delta import Delta
from tersor.layouts.grid import Grid
from tersor.layouts.low_rank import LowRank
from tersor.types import TensorSpec

DIGEST_BYTES = limits.MIN_DIGEST_BYTES
RELEASE_BYTES = 1 << 23


def digest_of_value(
    spec: TensorSpec, value: Dense | Grid | Delta | LowRank | Sparse, release: Callable[[], None]
) -> bytes:
    """Return the start of the BLAKE3 hash of the bytes that a reader will decode.

    release: called whenever RELEASE_BYTES of them have been read, of values with more.
    """
    array = decoded_matrix(spec, value) if isinstance(value, Grid | LowRank) else value.array
    data, digest = as_bytes(array), blake3()
    for begin in range(0, len(data), RELEASE_BYTES):
        digest.update(data[begin : begin + RELEASE_BYTES])
        if len(data) > RELEASE_BYTES:
            release()
    return digest.digest(length=DIGEST_BYTES)


def decoded_matrix(spec: TensorSpec, value: Grid | LowRank) -> np.ndarray:
    """Return the tensor that a value decodes to: the spec's shape and dtype, C-contiguous."""
    with np.errstate(over="ignore"):  # float16 overflows to infinity, as the format says
        matrix = value.to_dense().astype(spec.numpy_dtype, copy=False)
    if value.transposed:
        a, b = spec.shape[-2:]
        matrix = matrix.reshape(*spec.shape[:-2], b, a).swapaxes(-1, -2)
    return np.ascontiguousarray(matrix).reshape(spec.shape)


def is_constant(array: np.ndarray) -> bool:
    """Whether all elements have the same bytes."""
    flat = array.reshape(-1).view(np.uint8).reshape(-1, array.dtype.itemsize)
    steps = range(0, len(flat), RELEASE_BYTES)
    return all((flat[begin : begin + RELEASE_BYTES] == flat[0]).all() for begin in steps)
