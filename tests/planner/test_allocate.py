from __future__ import annotations

from itertools import product

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tersor.planner.allocate import allocate, largest_choices, smallest_choices, total_bytes
from tersor.planner.curves import Choice

curve = st.lists(
    st.tuples(st.integers(1, 400), st.floats(0.0, 100.0)).map(
        lambda pair: Choice({}, float(pair[0]), pair[1])
    ),
    min_size=1,
    max_size=4,
)


@given(st.lists(curve, min_size=1, max_size=5), st.floats(1.0, 2000.0))
def test_no_combination_that_fits_is_better_but_for_the_rounding_of_sizes(
    curves: list[list[Choice]], budget: float
) -> None:
    picks = allocate(curves, budget)
    combinations = [
        (sum(c.n_bytes for c in combination), sum(c.error for c in combination))
        for combination in product(*curves)
    ]
    if picks is None:
        assert min(size for size, _ in combinations) > budget
        return
    error = sum(c[p].error for c, p in zip(curves, picks, strict=True))
    slack = len(curves) * budget / 4000  # each size is rounded to a cell
    assert total_bytes(curves, picks) <= budget + slack
    fitting = [error for size, error in combinations if size <= budget - slack]
    assert not fitting or error <= min(fitting) + 1e-9


def test_lowest_fills_the_budget_where_a_cheaper_choice_is_as_good() -> None:
    curves = [[Choice({}, 50.0, 1.0), Choice({}, 100.0, 1.0)]]
    assert allocate(curves, 100.0) == [0]
    assert allocate(curves, 100.0, lowest=0.9) == [1]


def test_slopes_of_error_over_bytes_are_equal_on_convex_curves() -> None:
    def convex(scale: float) -> list[Choice]:
        return [Choice({}, 100.0 * bits, scale * 4.0**-bits) for bits in range(1, 9)]

    curves = [convex(1.0), convex(16.0), convex(256.0)]
    picks = allocate(curves, 1200.0)
    assert picks is not None
    assert [picks[1] - picks[0], picks[2] - picks[1]] == [2, 2]


def test_extremes_are_by_size() -> None:
    curves = [[Choice({}, 5.0, 0.0), Choice({}, 3.0, 0.0)], [Choice({}, 1.0, 0.0)]]
    assert smallest_choices(curves) == [1, 0]
    assert largest_choices(curves) == [0, 0]
    assert allocate(curves, 3.9) is None


@pytest.mark.parametrize("n_tensors", [1, 200])
def test_many_tensors_fill_the_budget_closely(n_tensors: int) -> None:
    curves = [
        [Choice({}, 1000.0 * bits + t, (1 + t) * 4.0**-bits) for bits in range(2, 9)]
        for t in range(n_tensors)
    ]
    budget = 4.3 * 1000 * n_tensors
    picks = allocate(curves, budget, lowest=0.999)
    assert picks is not None
    assert total_bytes(curves, picks) <= 1.0005 * budget
    assert n_tensors == 1 or total_bytes(curves, picks) >= 0.998 * budget
