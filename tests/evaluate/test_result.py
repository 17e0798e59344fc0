from __future__ import annotations

import math

import pytest

from tersor.evaluate.result import Compared
from tersor.evaluate.samples import Difference
from tersor.types import Metric


def compared(
    value: float, stderr: float = 0.0, low: float | None = None, changed: Difference | None = None
) -> Compared:
    return Compared(Metric("f1", value, "%", 9, stderr, higher_is_better=True), low, low, changed)


@pytest.mark.parametrize(
    ("figure", "cell"),
    [
        (compared(86.2134, 0.443, 85.0), "86.213 ± 0.44"),
        (compared(0.5, 0.0, 0.5), "0.5 ± 0"),
        (compared(90868376.0), "90,868,376"),
        (compared(731.12, 183.0, 1.0), "731.12 ± 183"),
        (compared(0.0000123, 0.0000004, 0.0), "1.23e-05 ± 4e-07"),
        (compared(math.inf, math.nan, 0.0), "inf ± nan"),
        (
            compared(86.0, 0.4, 85.0, Difference(-0.123, 0.15, -0.4, 0.2, 0.43, "test")),
            "86 ± 0.4 (-0.12 ± 0.15, p=0.43)",
        ),
        (
            compared(86.0, 0.4, 85.0, Difference(0.0, 0.0, 0.0, 0.0, 1.0, "test")),
            "86 ± 0.4 (+0 ± 0, p=1)",
        ),
        (
            compared(600.0, 9.0, 1.0, Difference(-131.0, 12.0, 0.0, 0.0, 2e-7, "test")),
            "600 ± 9 (-131 ± 12, p=2e-07)",
        ),
    ],
)
def test_cell_shows_figure_error_and_difference(figure: Compared, cell: str) -> None:
    assert figure.cell() == cell


def test_json_has_every_key_also_without_a_difference() -> None:
    without, having = compared(1.0), compared(1.0, changed=Difference(1, 2, 3, 4, 0.5, "sign"))
    assert set(without.to_json()) == set(having.to_json())
    assert without.to_json()["p_value"] is None
    assert having.to_json()["difference_high"] == 4
