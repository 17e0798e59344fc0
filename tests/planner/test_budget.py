from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tersor.errors import BudgetError
from tersor.planner.budget import solve_step

PARAMETERS = 1_000_000


class File:
    """A made-up file: entropy of Gaussian codes of rms 1/delta, in blocks of `grain` bytes, over a floor."""

    def __init__(self, grain: int = 1, floor: int = 1000, bias: float = 1.0) -> None:
        self.grain, self.floor, self.bias, self.calls = grain, floor, bias, 0

    def __call__(self, delta: float) -> int:
        self.calls += 1
        bits = 0.5 * math.log2(1 + 17.08 / delta**2 * self.bias**2)
        return self.floor + int(PARAMETERS / 8 * bits) // self.grain * self.grain


@given(st.floats(0.5, 10.0), st.floats(0.5, 2.0))
def test_result_is_within_one_percent_and_never_above(bits: float, bias: float) -> None:
    target = int(PARAMETERS * bits / 8)
    measure = File(bias=bias)
    solution = solve_step(measure, target, estimate=File())
    assert 0.99 * target <= solution.n_bytes <= target
    assert solution.n_bytes == File(bias=bias)(solution.delta)
    assert solution.n_measurements == measure.calls <= 10


def test_good_estimate_needs_at_most_two_measurements() -> None:
    measure = File(bias=1.02)
    solution = solve_step(measure, 400_000, estimate=File())
    assert solution.n_bytes >= 0.997 * 400_000
    assert measure.calls <= 2


def test_works_without_an_estimate() -> None:
    target = 321_000
    assert 0.99 * target <= solve_step(File(), target).n_bytes <= target


def test_coarse_jumps_still_meet_the_budget() -> None:
    target = 400_000
    assert 0.99 * target <= solve_step(File(grain=2500), target, estimate=File()).n_bytes <= target


def test_jumps_that_skip_the_window_name_the_nearest_sizes() -> None:
    with pytest.raises(BudgetError, match="nearest are 361,000 and 421,000 bytes") as caught:
        solve_step(File(grain=60_000), 400_000, estimate=File())
    assert caught.value.exit_code == 4


def test_too_small_budget_names_what_remains() -> None:
    with pytest.raises(BudgetError, match=r"900 bytes cannot be reached: .* 1,000 bytes remain"):
        solve_step(File(), 900, estimate=File())


def test_too_large_budget_names_the_largest() -> None:
    with pytest.raises(BudgetError, match=r"10,000,000 bytes cannot be filled: .* ask for at most"):
        solve_step(File(), 10_000_000, estimate=File())
