from __future__ import annotations

import numpy as np
import pytest

from archives import random_array
from tersor.layouts.geometry import DENSE_BLOCK_ELEMENTS as CHUNK_BYTES
from tersor.packing.guess import guess_dtype, guess_floats
from tersor.types import TensorSpec


def as_bytes(dtype: str, n: int = 40_000) -> np.ndarray:
    return random_array(TensorSpec("x", dtype, (n,))).view(np.uint8)


@pytest.mark.parametrize("dtype", ["F32", "BF16", "F16"])
def test_weights_are_recognised(dtype: str) -> None:
    assert guess_dtype(as_bytes(dtype)) == dtype


@pytest.mark.parametrize(
    "data",
    [b"", b"short", b"the quick brown fox " * 4000, bytes(100_000), np.random.default_rng(0).bytes(100_000)],
    ids=["empty", "short", "text", "zeros", "noise"],
)
def test_other_bytes_are_not(data: bytes) -> None:
    assert guess_dtype(np.frombuffer(data, np.uint8)) is None


def test_each_run_of_a_mixed_file_has_its_own_type() -> None:
    text = np.frombuffer(b"x" * CHUNK_BYTES, np.uint8)
    floats = as_bytes("F32", CHUNK_BYTES // 4)
    halves = as_bytes("BF16", CHUNK_BYTES // 2)
    found = list(guess_floats(np.concatenate([floats, text, halves])))
    assert [(spec.dtype, array.shape) for spec, array in found] == [
        ("F32", (1, CHUNK_BYTES // 4)),
        ("BF16", (1, CHUNK_BYTES // 2)),
    ]
