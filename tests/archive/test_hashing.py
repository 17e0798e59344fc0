"""Digests are those of what a reader decodes, however large the value."""

from __future__ import annotations

import numpy as np
import pytest
from blake3 import blake3

from archives import random_array, random_grid
from tersor.archive import hashing
from tersor.archive.hashing import DIGEST_BYTES, decoded_matrix, digest_of_value, is_constant
from tersor.layouts import Dense
from tersor.types import TensorSpec

SPEC = TensorSpec("w", "F32", (300, 200))


@pytest.mark.parametrize("step", [1000, 1 << 23])
def test_digest_is_blake3_of_the_bytes_and_large_values_are_released(
    step: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(hashing, "RELEASE_BYTES", step)
    array, released = random_array(SPEC), []
    digest = digest_of_value(SPEC, Dense(array), lambda: released.append(1))
    assert digest == blake3(array.tobytes()).digest(DIGEST_BYTES)
    assert len(released) == (array.nbytes // step if step < array.nbytes else 0)


def test_digest_of_a_grid_is_that_of_its_values() -> None:
    grid = random_grid(*SPEC.shape)
    digest = digest_of_value(SPEC, grid, lambda: None)
    assert digest == blake3(decoded_matrix(SPEC, grid).tobytes()).digest(DIGEST_BYTES)


@pytest.mark.parametrize("step", [8, 1 << 23])
def test_constant_means_all_elements_equal(step: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(hashing, "RELEASE_BYTES", step)
    array = np.full((30, 5), 1.5, np.float32)
    assert is_constant(array)
    array[-1, -1] = 2
    assert not is_constant(array)
