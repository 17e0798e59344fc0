"""Floats as the 16-bit words that float rows code."""

from __future__ import annotations

import ml_dtypes
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tersor.layouts.float_words import UNIT_BYTES, UNITS, WORD_FORMAT, float_words, row_length_of
from tersor.types import DTYPES


def test_words_of_16_bit_floats_are_their_bits() -> None:
    for dtype, one in (("BF16", 0x3F80), ("F16", 0x3C00)):
        block = np.array([[1, -1], [0, 2]], DTYPES[dtype][1])
        words = float_words(dtype, block)
        assert words.tolist()[:3] == [one, one | 0x8000, 0]
        assert words.tobytes() == block.tobytes()


def test_words_of_float32_are_its_upper_halves() -> None:
    block = np.array([[1.5, -3.0e-9]], np.float32)
    assert float_words("F32", block).tolist() == (block.view(np.uint32)[0] >> 16).tolist()


def test_words_of_a_tile_come_row_by_row() -> None:
    matrix = np.arange(12, dtype=np.float32).reshape(3, 4).astype(ml_dtypes.bfloat16)
    tile = matrix[:, 1:3]
    words = float_words("BF16", tile)
    assert words.flags.c_contiguous
    assert words.view(ml_dtypes.bfloat16).astype(int).tolist() == [1, 2, 5, 6, 9, 10]


@pytest.mark.parametrize("dtype", UNITS)
def test_units_know_their_size_and_word_format(dtype: str) -> None:
    unit = UNITS[dtype]
    assert 8 * UNIT_BYTES[unit] == DTYPES[dtype][0]
    assert WORD_FORMAT[unit] == (1 if dtype == "F16" else 0)


@given(st.integers(0, 100), st.integers(0, 10**6))
def test_row_length_suits_vectors(rows: int, columns: int) -> None:
    length = row_length_of(rows, columns)
    assert length % 32 == 0
    assert length >= 64
    assert length == columns or columns % 32 or columns < 64 or rows < 2
