from __future__ import annotations

import json

import pytest

from tersor.calibrate.roles import ParameterRole
from tersor.errors import BudgetError
from tersor.planner.plan import check_budget, make_plan
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


def plan_of(**kwargs):
    plan = make_plan(SPECS, ROLES, aliases={"head": "emb"}, **kwargs)
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


def test_skipped_tensors_say_by_which_pattern() -> None:
    assert plan_of(skip=["li*"])["lin"].reason == "skipped by 'li*'"


def test_table_and_json_name_every_tensor_and_reason() -> None:
    plan = make_plan(SPECS, ROLES, aliases={"head": "emb"})
    table, rows = plan.table(), json.loads(json.dumps(plan.to_json()))
    for tensor, row in zip(plan.tensors, rows, strict=True):
        assert (row["name"], row["method"]) == (tensor.spec.name, tensor.method)
        assert tensor.spec.name in table
        assert tensor.reason in table


def test_kept_tensors_that_exceed_the_budget_are_named() -> None:
    plan = make_plan(SPECS, ROLES, skip=["emb"])
    check_budget(plan, 20_000)
    with pytest.raises(
        BudgetError, match=r"'emb' \(12,800 bytes: skipped by 'emb'\), 'ids' \(4,096 bytes: I64"
    ):
        check_budget(plan, 5_000)
