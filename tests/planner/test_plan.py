from __future__ import annotations

import json
from typing import Any

import pytest

from tersor.calibrate.roles import ParameterRole
from tersor.errors import BudgetError, UsageError
from tersor.planner.plan import TensorPlan, Wishes, check_budget, make_plan
from tersor.planner.purposes import PURPOSES
from tersor.recipe import TargetRule
from tersor.types import TensorSpec

ROLES = {
    role.name: role
    for role in (
        ParameterRole("m.emb", "embedding", (100, 32), ("m.e",), True),
        ParameterRole("m.lin", "linear", (64, 32), ("m.l",)),
        ParameterRole("m.conv1d", "conv1d", (32, 96), ("m.c",)),
        ParameterRole("m.conv", "other", (64, 3, 3)),
        ParameterRole("m.bias", "other", (64,)),
        ParameterRole("m.types", "embedding", (2, 32), ("m.t",)),
    )
}
SPECS = [
    TensorSpec("emb", "F32", (100, 32)),
    TensorSpec("lin", "BF16", (64, 32)),
    TensorSpec("conv1d", "F32", (32, 96)),
    TensorSpec("conv", "F16", (64, 3, 3)),
    TensorSpec("bias", "F32", (64,)),
    TensorSpec("types", "F32", (2, 32)),
    TensorSpec("ids", "I64", (1, 512)),
    TensorSpec("nothing", "F32", (0, 4)),
    TensorSpec("head", "F32", (100, 32)),
    TensorSpec("stranger", "F32", (20, 30)),
]


def plan_of(*rules: TargetRule, **wishes: Any) -> dict[str, TensorPlan]:
    wanted = Wishes(**({"method": "gptq", "rules": rules} | wishes))
    plan = make_plan(SPECS, ROLES, aliases={"head": "emb"}, wishes=wanted)
    return {tensor.spec.name: tensor for tensor in plan.tensors}


def test_each_kind_of_tensor_gets_its_method() -> None:
    assert {name: tensor.method for name, tensor in plan_of().items()} == {
        "emb": "gptq",
        "lin": "gptq",
        "conv1d": "gptq",
        "conv": "rtn",
        "bias": "rtn",
        "types": "rtn",
        "ids": "keep",
        "nothing": "keep",
        "head": "alias",
        "stranger": "rtn",
    }


def test_matrices_are_rows_by_columns_and_transposed_for_conv1d() -> None:
    plan = plan_of()
    assert plan["conv1d"].matrix_shape == (96, 32)
    assert plan["conv"].matrix_shape == (192, 3)
    assert plan["bias"].matrix_shape == (1, 64)


def test_small_tensors_do_not_follow_the_budget() -> None:
    assert {name for name, tensor in plan_of().items() if tensor.is_fixed} == {"bias", "types"}


def test_kept_tensors_say_by_which_rule() -> None:
    kept = plan_of(TargetRule(match="li*", keep=True))["lin"]
    assert (kept.method, kept.reason) == ("keep", "kept by the rule 'li*'")


def test_first_rule_that_fits_gives_method_and_options() -> None:
    plan = plan_of(
        TargetRule(match="lin", method="fixed", options={"bits": 3}),
        TargetRule(match="*", options={"symmetric": False}),
        method="fixed",
        options={"bits": 8},
    )
    assert dict(plan["lin"].options) == {"bits": 3}
    assert dict(plan["conv1d"].options) == {"bits": 8, "symmetric": False}
    assert plan["bias"].method == "rtn"
    assert plan["lin"].follows_options
    assert not plan["lin"].follows_step
    assert "rule 'lin'" in plan["lin"].reason


def test_rule_that_fits_nothing_names_the_nearest_tensor() -> None:
    with pytest.raises(UsageError, match=r"targets\[0\]: 'lim' fits no tensor; did you mean 'lin'"):
        plan_of(TargetRule(match="lim", keep=True))


def test_what_a_method_lacks_statistics_for_gets_one_that_needs_none() -> None:
    plan = plan_of(method="gptq")
    assert (plan["conv"].method, plan["stranger"].method) == ("rtn", "rtn")
    assert "no factor for gptq" in plan["conv"].reason


@pytest.mark.parametrize(
    ("purpose", "quantized"),
    [("vllm", {"lin", "conv1d"}), ("gguf", {"emb", "lin", "conv1d"}), ("cpu", {"emb", "lin", "conv1d"})],
)
def test_purpose_keeps_what_its_program_takes_as_it_is(purpose: str, quantized: set[str]) -> None:
    plan = plan_of(method="fixed", purpose=purpose)
    assert {name for name, tensor in plan.items() if tensor.is_quantized} == quantized
    assert f"{purpose} takes it as it is" in plan["conv"].reason
    assert PURPOSES[purpose].what in plan["lin"].reason


def test_columns_that_no_group_divides_are_kept_with_the_reason() -> None:
    specs = [TensorSpec("lin", "F32", (64, 40))]
    roles = {"lin": ParameterRole("lin", "linear", (64, 40), ("l",))}
    plan = make_plan(specs, roles, wishes=Wishes(method="fixed", purpose="vllm"))
    assert "none divides 40" in plan.tensors[0].reason


def test_table_and_json_name_every_tensor_and_reason() -> None:
    plan = make_plan(SPECS, ROLES, aliases={"head": "emb"})
    table, rows = plan.table(), json.loads(json.dumps(plan.to_json()))
    for tensor, row in zip(plan.tensors, rows, strict=True):
        assert (row["name"], row["method"]) == (tensor.spec.name, tensor.method)
        assert tensor.spec.name in table
        assert tensor.reason in table


def test_kept_tensors_that_exceed_the_budget_are_named() -> None:
    plan = make_plan(SPECS, ROLES, wishes=Wishes(rules=[TargetRule(match="emb", keep=True)]))
    check_budget(plan, 20_000)
    with pytest.raises(
        BudgetError, match=r"'emb' \(12,800 bytes: kept by the rule 'emb'\), 'ids' \(4,096 bytes: I64"
    ):
        check_budget(plan, 5_000)
