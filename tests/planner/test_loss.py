from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tersor.calibrate.statistics import Statistics
from tersor.errors import BudgetError
from tersor.planner.loss import expected_error, first_position, solve_loss
from tersor.planner.plan import Plan, TensorPlan
from tersor.types import TensorSpec


class Model:
    """Loss = scale * 2 ** (slope * position), with noise that depends on the position alone."""

    def __init__(self, scale: float, slope: float = 2.0, noise: float = 0.0) -> None:
        self.scale, self.slope, self.noise, self.calls = scale, slope, noise, 0

    def __call__(self, position: float) -> float:
        self.calls += 1
        jitter = math.sin(1e4 * position) * self.noise
        return self.scale * 2.0 ** (self.slope * position + jitter)


@given(st.floats(1e-3, 1e3), st.floats(1.2, 4.0), st.floats(-6.0, 3.0))
def test_loss_is_kept_and_nearly_used_up(scale: float, slope: float, start: float) -> None:
    model = Model(scale, slope)
    found = solve_loss(model, 0.01, start=start, finest=-20, coarsest=20)
    assert 0.85 * 0.01 <= found.loss <= 0.01
    assert found.loss == Model(scale, slope)(found.position)
    assert found.n_evaluations == model.calls <= 10


def test_good_start_needs_one_file() -> None:
    assert solve_loss(Model(0.0095, 2.0), 0.01, start=0.0, finest=-9, coarsest=9).n_evaluations == 1


def test_noise_does_not_break_the_limit() -> None:
    found = solve_loss(Model(1.0, 2.0, noise=0.2), 0.01, start=0.0, finest=-12, coarsest=12)
    assert found.loss <= 0.01
    assert found.n_evaluations <= 10


def test_limit_that_nothing_keeps_names_the_least_loss() -> None:
    with pytest.raises(
        BudgetError, match=r"embedding loss cannot be kept at or below 0.01: .* has 0.04"
    ) as caught:
        solve_loss(lambda position: 0.04, 0.01, start=0.0, finest=-2, coarsest=9, name="embedding loss")
    assert caught.value.exit_code == 4


def test_limit_that_everything_keeps_takes_the_coarsest() -> None:
    assert solve_loss(lambda position: 0.001, 0.01, start=0.0, finest=-9, coarsest=5).position == 5


def test_first_position_is_where_the_expected_error_meets_the_limit() -> None:
    plan = Plan((TensorPlan(TensorSpec("a", "F32", (30, 20)), "gptq", "linear", "m.a"),))
    statistics = Statistics(Path(), base_steps={"m.a": 0.5}, errors={"m.a": 3.0})
    delta = 2.0 ** first_position(plan, statistics, 0.01)
    total = sum(expected_error(plan, statistics, delta).values())
    assert total == pytest.approx(0.7 * 0.01)
    assert total == pytest.approx(3.0 * 600 * (0.5 * delta) ** 2 / 12)
    assert first_position(plan, Statistics(Path()), 0.01) == -1.0
    assert np.isfinite(delta)
