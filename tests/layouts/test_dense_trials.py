"""Blocks of no known float type: what is tried, and that it is enough to find the form that suits."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
import pytest

from tersor.layouts.base import Context
from tersor.layouts.dense_encode import encode_block
from tersor.layouts.dense_trials import promising_trials
from tersor.layouts.forms.parts import FORM_BYTES, FORM_DIFFERENCES, FORM_FIELDS, FORM_PLANES

RNG = np.random.default_rng(0)
N = 1 << 17


def planes(stride: int) -> npt.NDArray[np.uint8]:
    """Elements of `stride` bytes: the last is one of four values, the others noise."""
    elements = RNG.integers(0, 256, (N // stride, stride), np.uint8)
    elements[:, -1] &= 3
    return elements.reshape(1, -1)


CASES: dict[str, tuple[str, npt.NDArray[Any], int, float]] = {
    "text": ("U8", np.frombuffer((b"the quick brown fox " * 10000)[:N], np.uint8)[None], FORM_BYTES, 0.01),
    "few values": ("U8", RNG.integers(0, 5, (1, N), np.uint8), FORM_BYTES, 0.3),
    "two bytes": ("U8", planes(2), FORM_PLANES, 0.63),
    "four bytes": ("U8", planes(4), FORM_PLANES, 0.82),
    "records": ("U8", np.repeat(RNG.integers(0, 256, (1, 7), np.uint8), N // 7, axis=0), FORM_BYTES, 0.01),
    "fields": (
        "U8",
        np.concatenate(
            [RNG.integers(0, 256, (N // 9, 3), np.uint8), RNG.integers(0, 4, (N // 9, 6), np.uint8)], 1
        ),
        FORM_FIELDS,
        0.52,
    ),
    "steps": (
        "I32",
        np.cumsum(RNG.integers(0, 9, (1, N // 4)), dtype=np.int32)[None],
        FORM_DIFFERENCES,
        0.12,
    ),
}


@pytest.mark.parametrize("name", CASES)
def test_form_that_suits_is_found(name: str) -> None:
    dtype, block, form, share = CASES[name]
    payload = encode_block(dtype, block, Context())
    assert payload[0] == form
    assert len(payload) <= share * block.nbytes + 100


def test_noise_is_not_encoded_at_all() -> None:
    assert promising_trials("U8", RNG.integers(0, 256, (1, N), np.uint8), Context()) == []


def test_small_blocks_are_tried_in_every_form() -> None:
    small = RNG.integers(0, 256, (40, 12), np.uint8)
    large = np.repeat(small, 200, axis=0)
    assert len(promising_trials("U8", small, Context())) == 5  # bytes, three strides, fields
    assert len(promising_trials("U8", large, Context())) < 5
