"""What the steps of a recipe do to one tensor."""

from __future__ import annotations

from typing import Any

import pytest

from tersor.calibrate.roles import ParameterRole
from tersor.planner.float_size import float_bytes
from tersor.planner.plan import Plan, TensorPlan, Wishes, make_plan
from tersor.recipe import TargetRule, resolve_recipe
from tersor.types import TensorSpec

SPECS = {
    "words": TensorSpec("words", "F32", (100, 32)),
    "dense": TensorSpec("dense", "F32", (64, 32)),
    "narrow": TensorSpec("narrow", "F32", (64, 30)),
    "bias": TensorSpec("bias", "F32", (64,)),
    "experts": TensorSpec("experts", "F32", (4, 64, 32)),
    "strange": TensorSpec("strange", "F32", (64, 32)),
}
ROLES = {
    "words": ParameterRole("words", "embedding", (100, 32), is_vocabulary=True),
    "dense": ParameterRole("dense", "linear", (64, 32)),
    "narrow": ParameterRole("narrow", "linear", (64, 30)),
    "bias": ParameterRole("bias", "other", (64,)),
    "experts": ParameterRole("experts", "experts", (4, 64, 32)),
    "strange": ParameterRole("strange", "other", (64, 32)),
}


def planned(*steps: dict[str, Any], rules: tuple[TargetRule, ...] = ()) -> dict[str, TensorPlan]:
    made = resolve_recipe(
        {"size": "3bpw" if any("quantize" in s for s in steps) else None, "steps": list(steps)}
    )
    plan: Plan = make_plan(list(SPECS.values()), ROLES, wishes=Wishes(steps=made.all_steps, rules=rules))
    return {tensor.spec.name: tensor for tensor in plan.tensors}


def test_linear_layers_are_pruned_and_all_else_is_kept() -> None:
    plan = planned({"prune": {"sparsity": 0.5}})
    assert plan["dense"].method == "float"
    assert plan["dense"].prune is not None
    assert plan["dense"].prune.method == "sparsegpt"
    assert "pruned: sparsegpt, 50% of each row" in plan["dense"].reason
    assert plan["words"].method == plan["experts"].method == "keep"
    assert plan["bias"].method == "float"
    assert plan["bias"].is_fixed


def test_targets_reach_any_matrix_with_what_its_statistics_allow() -> None:
    plan = planned({"prune": {}, "targets": "*"})
    assert {name for name, tensor in plan.items() if tensor.prune} == {"words", "dense", "narrow", "strange"}
    assert plan["words"].prune is not None
    assert plan["words"].prune.method == "sparsegpt"
    assert plan["strange"].prune is not None
    assert plan["strange"].prune.method == "magnitude"
    assert "no factor for sparsegpt" in plan["strange"].reason


def test_pattern_that_does_not_fit_the_columns_is_left_out_and_said() -> None:
    plan = planned({"prune": {"pattern": "2:4"}})
    assert plan["narrow"].prune is None
    assert plan["narrow"].method == "keep"
    assert "not pruned: columns=30 is not a multiple of 4" in plan["narrow"].reason
    assert plan["dense"].prune is not None
    assert plan["dense"].prune.share_kept == 0.5


def test_first_step_of_a_kind_that_fits_counts() -> None:
    plan = planned(
        {"quantize": {"method": "fixed", "options": {"bits": 8}}, "targets": "d*"},
        {"quantize": {"method": "two_sided"}},
    )
    assert plan["dense"].method == "fixed"
    assert plan["dense"].options == {"bits": 8}
    assert plan["words"].method == "two_sided"


def test_order_of_pruning_and_factors_decides_what_is_pruned() -> None:
    residual = {"low_rank": {"keep": 0.5, "residual": True}}
    before, after = planned({"prune": {}}, residual), planned(residual, {"prune": {}})
    assert before["dense"].is_pruned
    assert not after["dense"].is_pruned
    assert after["dense"].prune is not None
    assert after["dense"].prune.of_residual


def test_kept_tensors_are_touched_by_no_step() -> None:
    plan = planned({"prune": {}}, {"cast": {}}, rules=(TargetRule(match="dense", keep=True),))
    assert plan["dense"].method == "keep"
    assert plan["dense"].prune is None
    assert plan["dense"].cast is None
    assert plan["words"].stored_spec.dtype == "BF16"


def test_cast_to_the_type_that_is_there_changes_nothing() -> None:
    plan = planned({"cast": {"dtype": "float32"}})
    assert plan["dense"].method == "keep"
    assert plan["dense"].stored_spec is plan["dense"].spec


@pytest.mark.parametrize(
    ("steps", "share"),
    [
        ([{"cast": {"dtype": "bfloat16"}}], 0.425),
        ([{"prune": {"sparsity": 0.5}}], 0.425 + 1 / 32),
        ([{"low_rank": {"keep": 0.5}}], 0.425),
    ],
    ids=["cast", "prune", "low_rank"],
)
def test_estimated_bytes_of_floats_count_what_is_stored(steps: list[dict[str, Any]], share: float) -> None:
    tensor = planned(*steps)["dense"]
    assert float_bytes(tensor) == pytest.approx(share * tensor.spec.n_bytes, rel=0.05)
