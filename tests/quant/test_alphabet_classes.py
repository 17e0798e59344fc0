from __future__ import annotations

import numpy as np
import pytest

from tersor.quant.alphabet import Alphabet, Integers, Levels, Signs
from tersor.quant.alphabet_classes import alphabet_classes, conditional_entropy_bits

SIXTEEN = Levels(np.linspace(-1, 1, 16, dtype=np.float32))
THREE_BITS = Levels(np.linspace(-1, 1, 8, dtype=np.float32))


def classes_of(values: np.ndarray, alphabet: Alphabet) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    codes = alphabet.nearest(values.astype(np.float32))
    return codes, *alphabet_classes(codes, np.abs(alphabet.levels(codes)), alphabet)


def uneven(seed: int = 0) -> np.ndarray:
    random = np.random.RandomState(seed)
    return 0.4 * random.randn(300, 200) * np.exp(0.8 * random.randn(300, 1)) * np.exp(0.8 * random.randn(200))


@pytest.mark.parametrize("alphabet", [Integers(-1, 1), SIXTEEN, THREE_BITS])
def test_classes_of_small_alphabets_never_meet_those_of_another(alphabet: Alphabet) -> None:
    _, rows, columns = classes_of(uneven(), alphabet)
    classes = rows[:, None] + columns
    others = [a for a in (Signs(), Integers(-1, 1), SIXTEEN, THREE_BITS) if a != alphabet]
    for other in others:
        _, other_rows, other_columns = classes_of(uneven(), other)
        assert not set(np.unique(classes)) & set(np.unique(other_rows[:, None] + other_columns))
    assert classes.min() >= -128
    assert classes.max() < -64  # where an unbounded grid would hold zeros only


def test_integers_of_three_bits_and_more_have_the_classes_of_unbounded_codes() -> None:
    codes, rows, columns = classes_of(4 * np.random.RandomState(0).randn(100, 50), Integers(-127, 127))
    level = 4 * np.log2(np.sqrt(np.square(codes, dtype=np.float64).mean()))
    assert np.abs(rows[:, None] + columns - level).max() <= 2


def test_uneven_rows_and_columns_get_classes_that_save_bits() -> None:
    codes, rows, columns = classes_of(uneven(), SIXTEEN)
    flat = conditional_entropy_bits(codes, np.zeros(300, np.int16), np.zeros(200, np.int16))
    assert np.ptp(rows) > 0
    assert np.ptp(columns) > 0
    assert conditional_entropy_bits(codes, rows, columns) < 0.9 * flat


def test_even_codes_have_one_class() -> None:
    _, rows, columns = classes_of(np.random.RandomState(0).uniform(-1, 1, (300, 200)), SIXTEEN)
    assert np.ptp(rows) == np.ptp(columns) == 0


def test_conditional_entropy_of_known_histograms() -> None:
    codes = np.array([[0, 1, 0, 1], [5, 5, 5, 5]])
    rows, columns = np.array([0, 1], np.int16), np.zeros(4, np.int16)
    assert conditional_entropy_bits(codes, rows, columns) == 4
    assert conditional_entropy_bits(codes, np.zeros(2, np.int16), columns) == 8 * 1.5


@pytest.mark.parametrize("shape", [(0, 4), (4, 0)])
def test_empty_matrices_have_classes(shape: tuple[int, int]) -> None:
    empty = np.zeros(shape, np.int32)
    rows, columns = alphabet_classes(empty, empty.astype(np.float32), SIXTEEN)
    assert (len(rows), len(columns)) == shape
