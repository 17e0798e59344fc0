from __future__ import annotations

import pytest

from tersor.planner.choices import settings, settle
from tersor.planner.plan import Plan, TensorPlan
from tersor.quant import QUANTIZERS
from tersor.types import TensorSpec

FIXED = QUANTIZERS.get("fixed").info


def test_options_that_are_given_are_never_varied() -> None:
    found = settings(FIXED, {"bits": 3, "group_size": 32}, 64)
    assert found == [{"bits": 3, "group_size": 32}]


def test_bits_and_groups_that_divide_the_columns_are_varied_the_default_first() -> None:
    found = settings(FIXED, {}, 96)
    assert found[0]["bits"] == 4
    assert {choice["bits"] for choice in found} == {2, 3, 4, 5, 6, 7, 8}
    assert {choice["group_size"] for choice in found} == {32, 0}


@pytest.mark.parametrize(
    ("given", "name"), [({"delta": "2^-8"}, "group_size"), ({"granularity": "row"}, "group_size")]
)
def test_options_that_exclude_others_leave_them_alone(given: dict[str, object], name: str) -> None:
    assert all(name not in choice for choice in settings(FIXED, given, 128))


@pytest.mark.parametrize("method", QUANTIZERS.names())
@pytest.mark.parametrize("columns", [1, 7, 32, 384])
def test_every_setting_of_every_method_is_a_good_one(method: str, columns: int) -> None:
    info = QUANTIZERS.get(method).info
    found = settings(info, {}, columns)
    assert found
    for choice in found:
        info.resolve(choice)


@pytest.mark.parametrize(
    ("purpose", "expected"),
    [
        ("vllm", {(4, 128), (4, 64), (4, 32), (8, 128), (8, 64), (8, 32)}),
        ("gguf", {(4, 32), (5, 32), (8, 32)}),
        ("cpu", {(8, 0), (4, 32), (4, 64), (4, 128), (4, 256)}),
    ],
)
def test_purposes_allow_only_their_layouts(purpose: str, expected: set[tuple[int, int]]) -> None:
    found = settings(FIXED, {}, 512, purpose)
    assert {(choice["bits"], choice["group_size"]) for choice in found} == expected


def test_without_a_budget_a_purpose_settles_the_options() -> None:
    tensor = TensorPlan(TensorSpec("a", "F32", (64, 64)), "fixed", "linear", "a")
    plan = settle(Plan((tensor,)), "gguf")
    assert plan.tensors[0].options["group_size"] == 32
    assert settle(Plan((tensor,)), "storage").tensors[0].options == {}
