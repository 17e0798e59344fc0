"""Curves: bytes and errors of a method's settings, measured on a sample of rows."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from tersor.calibrate.statistics import Statistics
from tersor.planner.curves import rate_curves, tensor_error
from tersor.planner.forecast import forecast_tensors, representatives
from tersor.planner.plan import Plan, TensorPlan
from tersor.quant import TensorStatistics
from tersor.types import TensorSpec


def weights(rows: int = 96, columns: int = 64) -> np.ndarray:
    return np.random.RandomState(0).randn(rows, columns).astype(np.float32)


def plan_of(method: str, options: dict[str, object] | None = None, **named: np.ndarray) -> Plan:
    return Plan(
        tuple(
            TensorPlan(TensorSpec(name, "F32", array.shape), method, "linear", name, options=options or {})
            for name, array in named.items()
        )
    )


def test_more_bits_cost_more_bytes_and_less_error() -> None:
    weight = weights()
    curves = rate_curves(lambda _: weight, plan_of("fixed", {"group_size": 64}, a=weight), Statistics(Path()))
    choices = sorted(curves[0], key=lambda choice: choice.options["bits"])
    assert [choice.options["bits"] for choice in choices] == [2, 3, 4, 5, 6, 7, 8]
    assert all(np.diff([choice.n_bytes for choice in choices]) > 0)
    assert all(np.diff([choice.error for choice in choices]) < 0)
    four = next(choice for choice in choices if choice.options["bits"] == 4)
    assert 3.2 < 8 * four.n_bytes / weight.size < 4.8


def test_curves_do_not_depend_on_the_number_of_threads() -> None:
    weight = weights()
    plan = plan_of("fixed", {"group_size": 32}, a=weight, b=weight[:32])
    found = [
        rate_curves(
            lambda name: weight if name == "a" else weight[:32], plan, Statistics(Path()), threads=threads
        )
        for threads in (1, 3)
    ]
    assert found[0] == found[1]


def test_error_is_the_trace_of_both_hessians() -> None:
    random = np.random.RandomState(1)
    error, inputs, outputs = random.randn(5, 4), random.randn(40, 4), random.rand(5) + 0.1
    hessian = (inputs.T @ inputs).astype(np.float32)
    unit = hessian / np.diagonal(hessian).mean()
    known = TensorStatistics(hessian=hessian, output_hessian=np.diag(outputs))
    expected = np.trace(np.diag(outputs / outputs.mean()) @ error @ unit @ error.T)
    assert tensor_error(error, known) == pytest.approx(expected, rel=1e-5)
    assert tensor_error(error, TensorStatistics()) == pytest.approx(np.square(error).sum())


def test_sensitive_tensors_count_more() -> None:
    weight = weights()
    plan = plan_of("fixed", {"bits": 4, "group_size": 32}, a=weight, b=weight)
    statistics = Statistics(Path(), base_steps={"a": 1.0, "b": 0.5})
    curves = rate_curves(lambda _: weight, plan, statistics)
    assert curves[1][0].error == pytest.approx(4 * curves[0][0].error)
    measured = Statistics(Path(), base_steps={"a": 1.0, "b": 0.5}, errors={"a": 2.0})
    assert rate_curves(lambda _: weight, plan, measured)[1][0].error == pytest.approx(8 * curves[0][0].error)


def test_forecast_tells_bytes_of_all_and_errors_of_what_was_measured() -> None:
    weight = weights()
    plan = Plan(
        (
            *plan_of("rtn", a=weight, b=weight).tensors,
            TensorPlan(TensorSpec("c", "F32", (4,)), "keep", "kept"),
            TensorPlan(TensorSpec("d", "F32", weight.shape), "alias", "tied", target="a"),
        )
    )
    statistics = Statistics(Path(), base_steps={"a": 1.0}, errors={"a": 2.0})
    found = forecast_tensors(lambda _: weight, plan, statistics, 0.1)
    # A plain grid of step .1: the error of a weight is .1^2 / 12.
    assert found["a"].error == pytest.approx(2.0 * weight.size * 0.01 / 12, rel=0.2)
    assert found["b"].error is None
    assert 0 < found["c"].n_bytes < 16
    assert found["d"].n_bytes == 0
    assert found["a"].n_bytes > 1000


def test_representatives_stand_for_all_weights() -> None:
    large, small = weights(128, 64), weights(64, 64)
    plan = plan_of("rtn", a=large, b=small, c=small, d=small)
    (found,) = representatives(plan)
    assert [tensor.spec.name for tensor in found.plan.tensors] == ["a", "b"]
    assert found.share == pytest.approx((2 + 1 + 1 + 1) / (2 + 1))
