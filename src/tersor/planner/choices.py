"""The settings of a method that the planner may choose from for one tensor."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import replace
from itertools import product
from typing import Any

from tersor.planner.plan import Plan, TensorPlan
from tersor.planner.purposes import PURPOSES, WHOLE_ROW, allows
from tersor.quant import QUANTIZERS, MethodInfo

# Options that set the size, and the values tried.
SWEEPS: Mapping[str, tuple[int, ...]] = {
    "bits": (2, 3, 4, 5, 6, 7, 8),
    "levels": (2, 3, 4, 6, 8, 12, 16, 24, 32, 48, 64, 96, 128, 256),
    "group_size": (128, 64, 32, 256, WHOLE_ROW),
}


def settings(
    info: MethodInfo, given: Mapping[str, Any], columns: int, purpose: str = "storage"
) -> list[dict[str, Any]]:
    """All options that the planner may give the method for a matrix of `columns` columns; never empty.

    The first is the nearest to the method's defaults. given: options that the user fixed: they are never varied, and
    always in the result, fit or not (the method then says what is wrong). Options left at the method's default are not
    listed.
    """
    fixed = {**_fixed_by(purpose, info), **given}
    varied = {
        name: [value for value in _default_first(info, name, values) if _is_good(info, name, value, columns)]
        for name, values in SWEEPS.items()
        if name in info.options and name not in fixed
    }
    found = list(_products(fixed, varied))
    if purpose in PURPOSES:
        found = [s for s in found if allows(PURPOSES[purpose], {**_defaults(info), **s})] or found[:1]
    return found


def settle(plan: Plan, purpose: str) -> Plan:
    """The plan with options that the purpose allows, where no budget chooses them: given ones, then defaults."""
    if purpose not in PURPOSES:
        return plan
    return Plan(tuple(_settled(tensor, purpose) for tensor in plan.tensors))


def _settled(tensor: TensorPlan, purpose: str) -> TensorPlan:
    if not tensor.follows_options:
        return tensor
    info = QUANTIZERS.get(tensor.method).info
    return replace(tensor, options=settings(info, tensor.options, tensor.matrix_shape[1], purpose)[0])


def _default_first(info: MethodInfo, name: str, values: tuple[int, ...]) -> list[int]:
    default = info.options[name].default
    return sorted(values, key=lambda value: value != default)


def _products(fixed: Mapping[str, Any], varied: Mapping[str, list[int]]) -> Iterator[dict[str, Any]]:
    used = {name: values for name, values in varied.items() if values}
    if "delta" in fixed and fixed["delta"] is not None:  # one step for the whole tensor: no groups
        used.pop("group_size", None)
    if fixed.get("granularity", "group") != "group":
        used.pop("group_size", None)
    if fixed.get("max_code") is not None:  # says the range itself
        used.pop("bits", None)
    for values in product(*used.values()):
        yield {**fixed, **dict(zip(used, values, strict=True))}


def _fixed_by(purpose: str, info: MethodInfo) -> dict[str, Any]:
    """What the purpose says about options that the method has, where it is not the method's default."""
    if purpose not in PURPOSES:
        return {}
    wanted = PURPOSES[purpose].fixed.items()
    return {n: v for n, v in wanted if n in info.options and info.options[n].default != v}


def _is_good(info: MethodInfo, name: str, value: int, columns: int) -> bool:
    if info.options[name].check(value):
        return False
    return name != "group_size" or value == WHOLE_ROW or (value < columns and columns % value == 0)


def _defaults(info: MethodInfo) -> dict[str, Any]:
    return {name: option.default for name, option in info.options.items()}
