"""Masks: pruned places decode to exactly zero, their error is passed on, and methods that cannot do so say it."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from matrices import inputs_of, output_error, statistics_of, weight_of
from tersor import _core
from tersor.errors import ShapeError, UsageError
from tersor.quant import QUANTIZERS, QuantConfig, TensorStatistics
from tersor.quant.factor import inverse_row_factor

KEEPERS = [name for name in QUANTIZERS.names() if QUANTIZERS.get(name).info.keeps_zeros]
OTHERS = [name for name in QUANTIZERS.names() if name not in KEEPERS]
CASES: list[tuple[str, dict[str, Any]]] = [
    *((name, {}) for name in KEEPERS),
    ("two_sided", {"trellis": False}),
    ("fixed", {"symmetric": False, "bits": 3}),
    ("fixed", {"error_feedback": True}),
    ("fixed", {"granularity": "tensor", "symmetric": False, "error_feedback": True}),
    ("nf4", {"error_feedback": True}),
    ("awq", {"symmetric": False}),
]


def statistics(rows: int, columns: int) -> TensorStatistics:
    outputs = inputs_of(rows, seed=5)
    factor = inverse_row_factor(outputs.T @ outputs, 0.15)
    return replace(statistics_of(inputs_of(columns)), row_factor=factor)


def mask_of(rows: int, columns: int, share: float = 0.5) -> np.ndarray:
    return np.asarray(np.random.RandomState(9).rand(rows, columns) >= share)


def quantized(
    name: str, weight: np.ndarray, stats: TensorStatistics, mask: np.ndarray | None, **config: Any
) -> np.ndarray:
    return QUANTIZERS.get(name)(weight, QuantConfig(0.02, mask=mask, **config), stats).to_dense()


def test_methods_that_lead_keep_zeros() -> None:
    assert {"two_sided", "gptq", "rtn", "fixed", "ternary"} <= set(KEEPERS)


@pytest.mark.parametrize(("name", "options"), CASES, ids=str)
def test_masked_places_are_exactly_zero_whatever_the_weight(name: str, options: dict[str, Any]) -> None:
    weight, mask = weight_of(), mask_of(48, 64)
    dense = quantized(name, weight, statistics(48, 64), mask, options=options)
    assert not dense[~mask].any()
    assert np.count_nonzero(dense[mask]) > 0.1 * mask.sum()


@pytest.mark.parametrize("name", KEEPERS)
def test_a_mask_that_keeps_all_changes_nothing(name: str) -> None:
    weight, stats = weight_of(), statistics(48, 64)
    full = quantized(name, weight, stats, np.ones((48, 64), np.bool_))
    assert full.tobytes() == quantized(name, weight, stats, None).tobytes()


@pytest.mark.parametrize("name", ["gptq", "two_sided"])
def test_error_of_masked_places_is_made_up_for(name: str) -> None:
    weight, inputs, mask = weight_of(), inputs_of(), mask_of(48, 64, 0.3)
    stats = statistics_of(inputs)
    with_feedback = quantized(name, weight, stats, mask)
    rounded = quantized("rtn", weight, TensorStatistics(), mask)
    assert output_error(with_feedback, weight, inputs) < 0.7 * output_error(rounded, weight, inputs)


@pytest.mark.parametrize("rows", [5, 48, 700])
@pytest.mark.parametrize("has_trellis", [False, True])
@pytest.mark.parametrize("has_row_factor", [False, True])
def test_codes_do_not_depend_on_threads(rows: int, has_trellis: bool, has_row_factor: bool) -> None:
    columns = 40
    stats = statistics(rows, columns)
    if not has_row_factor:
        stats = replace(stats, row_factor=None)
    weight, mask = weight_of(rows, columns), mask_of(rows, columns)
    results = [
        quantized("two_sided", weight, stats, mask, threads=threads, options={"trellis": has_trellis})
        for threads in (1, 4)
    ]
    assert results[0].tobytes() == results[1].tobytes()
    assert not results[0][~mask].any()


def rounded_runs(rows: int, run_rows: int) -> np.ndarray:
    """Trellis codes of the first rows of a matrix, without feedback along rows."""
    columns = 24
    codes = np.empty((rows, columns), np.int32)
    _core.round_two_sided(
        weight_of(400, columns)[:rows],
        statistics_of(inputs_of(columns)).factor,
        np.zeros((0, 0), np.float32),
        np.full(rows, 0.02, np.float32),
        np.ones(columns, np.float32),
        np.zeros(rows, np.int32),
        np.zeros(columns, np.int32),
        np.abs(np.linspace(0, 1, 2 * 3 * 9, dtype=np.float32)).reshape(2, 3, 9),
        -1,
        run_rows,
        codes,
        1,
        mask_of(400, columns)[:rows],
    )
    return codes


def test_runs_searched_side_by_side_keep_zeros_as_single_ones_do() -> None:
    # More than 4 runs are searched 16 at a time, fewer one after the other.
    many, one = rounded_runs(400, 16), rounded_runs(16, 16)
    assert np.array_equal(many[:16], one)
    assert not many[~mask_of(400, 24)].any()


@pytest.mark.parametrize("name", OTHERS)
def test_methods_without_a_zero_refuse_a_mask(name: str) -> None:
    with pytest.raises(UsageError, match=f"method '{name}' cannot keep pruned weights at zero"):
        quantized(name, weight_of(), statistics(48, 64), mask_of(48, 64))


def test_masks_of_another_shape_or_type_are_refused() -> None:
    weight, stats = weight_of(), statistics(48, 64)
    with pytest.raises(ShapeError, match="a mask of bool and shape"):
        quantized("rtn", weight, stats, mask_of(48, 63))
    with pytest.raises(ShapeError, match="a mask of float64"):
        quantized("rtn", weight, stats, np.ones((48, 64)))
