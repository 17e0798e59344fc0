from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from tersor.errors import UsageError
from tersor.quant.alphabet import Alphabet, Integers, Levels, Signs

ALPHABETS: list[Alphabet] = [
    Integers(-7, 7),
    Integers(-8, 7),
    Integers(-1, 1),
    Signs(),
    Levels(np.array([-2.0, -0.5, 0.0, 0.25, 3.0], np.float32)),
]
VALUES = arrays(np.float32, 12, elements=st.floats(-20, 20, width=32))


@pytest.mark.parametrize("alphabet", ALPHABETS)
@given(values=VALUES)
def test_nearest_is_at_least_as_near_as_every_level(alphabet: Alphabet, values: np.ndarray) -> None:
    codes = alphabet.nearest(values)
    distance = np.abs(alphabet.levels(codes) - values)
    for code in every_code(alphabet):
        level = alphabet.levels(np.array([code]))[0]
        assert (distance <= np.abs(level - values) * (1 + 1e-6)).all()


@pytest.mark.parametrize("alphabet", ALPHABETS)
def test_codes_and_levels_grow_together(alphabet: Alphabet) -> None:
    codes = every_code(alphabet)
    levels = alphabet.levels(codes)
    assert len(codes) == alphabet.n_codes
    assert (np.diff(levels) > 0).all()
    assert levels[-1] == alphabet.highest
    assert np.array_equal(alphabet.nearest(levels), codes)


def test_levels_that_do_not_increase_are_refused() -> None:
    for values in ([1.0], [0.0, 0.0], [1.0, -1.0]):
        with pytest.raises(UsageError, match="increase strictly"):
            Levels(np.array(values, np.float32))


def every_code(alphabet: Alphabet) -> np.ndarray:
    stride = 2 if isinstance(alphabet, Signs) else 1
    return alphabet.lowest_code + stride * np.arange(alphabet.n_codes, dtype=np.int32)
