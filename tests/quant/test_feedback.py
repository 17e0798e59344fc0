from __future__ import annotations

import numpy as np
import pytest

from matrices import inputs_of, output_error, statistics_of, weight_of
from tersor.quant.alphabet import Alphabet, Integers, Signs
from tersor.quant.feedback import round_to_alphabet
from tersor.quant.group_scales import absmax_scales, range_scales


def one_by_one(weight: np.ndarray, alphabet: Alphabet, groups, factor: np.ndarray) -> np.ndarray:
    """The definition, in float64: every error moves all columns after it at once."""
    scales, zeros = (part.astype(np.float64) for part in groups.spread(slice(None)))
    left, codes = weight.astype(np.float64), np.empty(weight.shape, np.int32)
    for j in range(weight.shape[1]):
        codes[:, j] = alphabet.nearest((left[:, j] / scales[:, j] + zeros[:, j]).astype(np.float32))
        rounded = (alphabet.levels(codes[:, j]) - zeros[:, j]) * scales[:, j]
        left[:, j + 1 :] -= np.outer((left[:, j] - rounded) / factor[j, j], factor[j, j + 1 :])
    return codes


@pytest.mark.parametrize("columns", [1, 31, 32, 33, 100])
def test_codes_are_those_of_the_definition(columns: int) -> None:
    weight, inputs = weight_of(40, columns), inputs_of(columns)
    factor = statistics_of(inputs).factor
    assert factor is not None
    groups = range_scales(weight, columns, -8, 7)
    codes = round_to_alphabet(weight, Integers(-8, 7), groups, factor)
    different = codes != one_by_one(weight, Integers(-8, 7), groups, factor)
    assert different.mean() < 0.01  # ties that float32 decides otherwise


@pytest.mark.parametrize("alphabet", [Integers(-7, 7), Integers(-1, 1), Signs()])
def test_feedback_makes_the_output_error_smaller(alphabet: Alphabet) -> None:
    weight, inputs = weight_of(), inputs_of()
    groups = absmax_scales(weight, 64, Integers(-7, 7) if alphabet.n_codes > 3 else alphabet)
    groups.scales[:] *= 1.0 if alphabet.n_codes > 3 else 0.4
    scales, _ = groups.spread(slice(None))
    errors = [
        output_error(alphabet.levels(round_to_alphabet(weight, alphabet, groups, f)) * scales, weight, inputs)
        for f in (None, statistics_of(inputs).factor)
    ]
    assert errors[1] < 0.7 * errors[0]


def test_chunks_of_rows_do_not_change_the_codes(monkeypatch: pytest.MonkeyPatch) -> None:
    weight, factor = weight_of(200, 64), statistics_of(inputs_of()).factor
    groups = absmax_scales(weight, 16, Integers(-7, 7))
    whole = round_to_alphabet(weight, Integers(-7, 7), groups, factor)
    monkeypatch.setattr("tersor.quant.feedback._FEEDBACK_ROWS", 17)
    assert np.array_equal(round_to_alphabet(weight, Integers(-7, 7), groups, factor), whole)
