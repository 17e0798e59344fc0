"""What will happen to each tensor, and why: decided from names, types and shapes, before any work."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from fnmatch import fnmatchcase
from typing import Any

import numpy as np

from tersor.calibrate.roles import ParameterRole
from tersor.calibrate.walk import is_small
from tersor.errors import BudgetError
from tersor.planner.names import match_names
from tersor.types import FLOAT_DTYPES, TensorSpec

# "keep" and "alias", or the name of a quantizer.
Method = str


@dataclass(frozen=True, slots=True)
class TensorPlan:
    """One tensor's treatment.

    method: "gptq", "rtn" (names of QUANTIZERS), "keep" (stored without loss), "alias" (stored once, as `target`).
    parameter: the model's name for it, which statistics go by; None if the model has no such parameter.
    is_fixed: its step does not follow the budget (small tensors).
    is_transposed: its matrix is the transpose of its last two dimensions.
    """

    spec: TensorSpec
    method: Method
    reason: str
    parameter: str | None = None
    is_fixed: bool = False
    is_transposed: bool = False
    target: str | None = None

    @property
    def is_quantized(self) -> bool:
        return self.method not in ("keep", "alias")

    @property
    def matrix_shape(self) -> tuple[int, int]:
        """(rows, columns) of the matrix that a quantizer sees."""
        shape = self.spec.shape
        rows, columns = int(np.prod(shape[:-1], dtype=np.int64)), shape[-1] if shape else 1
        return (columns, rows) if self.is_transposed else (rows, columns)


@dataclass(frozen=True, slots=True)
class Plan:
    """Every tensor of a checkpoint, once, in its order."""

    tensors: tuple[TensorPlan, ...]

    def to_json(self) -> list[dict[str, Any]]:
        """Plain values, one object per tensor."""
        rows = []
        for tensor in self.tensors:
            row = asdict(tensor)
            spec = row.pop("spec")
            rows.append({"name": spec["name"], "dtype": spec["dtype"], "shape": list(spec["shape"]), **row})
        return rows

    def table(self) -> str:
        """Aligned text: name, shape, dtype, method, reason."""
        rows = [("tensor", "shape", "dtype", "method", "reason")]
        for tensor in self.tensors:
            shape = "x".join(map(str, tensor.spec.shape)) or "scalar"
            rows.append((tensor.spec.name, shape, tensor.spec.dtype, tensor.method, tensor.reason))
        widths = [max(len(row[i]) for row in rows) for i in range(4)]
        lines = (
            "  ".join([*(cell.ljust(w) for cell, w in zip(row, widths, strict=False)), row[4]])
            for row in rows
        )
        return "\n".join(line.rstrip() for line in lines)


def make_plan(
    specs: Sequence[TensorSpec],
    roles: Mapping[str, ParameterRole],
    *,
    aliases: Mapping[str, str] | None = None,
    skip: Sequence[str] = (),
) -> Plan:
    """Decide a method for every tensor.

    roles: of the model loaded from the checkpoint (`calibrate.parameter_roles`); names may differ by a prefix.
    aliases: tied tensor -> the tensor that holds its values. skip: glob patterns of names to keep without loss.
    """
    ties = aliases or {}
    parameters = match_names(
        {spec.name: spec.shape for spec in specs}, {n: role.shape for n, role in roles.items()}
    )
    return Plan(
        tuple(_plan_tensor(spec, roles.get(parameters.get(spec.name, "")), ties, skip) for spec in specs)
    )


def check_budget(plan: Plan, target_bytes: int) -> None:
    """Raise BudgetError if the tensors kept without loss alone exceed the budget, naming them and the reasons."""
    n_bytes = sum(tensor.spec.n_bytes for tensor in plan.tensors if tensor.method == "keep")
    # Lossless coding of kept tensors saves something, so only a clear excess is certain.
    if n_bytes > 2 * target_bytes:
        raise BudgetError(f"{target_bytes:,} bytes cannot be reached: {untouched(plan)}")


def untouched(plan: Plan) -> str:
    """Name the largest tensors that no step touches, and why; "" if every tensor is quantized."""
    kept = sorted(
        (t for t in plan.tensors if t.method == "keep" and t.spec.n_bytes), key=lambda t: -t.spec.n_bytes
    )
    if not kept:
        return ""
    n_bytes = sum(tensor.spec.n_bytes for tensor in kept)
    named = ", ".join(f"{t.spec.name!r} ({t.spec.n_bytes:,} bytes: {t.reason})" for t in kept[:3])
    more = f" and {len(kept) - 3} more" if len(kept) > 3 else ""
    return (
        f"tensors that no step touches take {n_bytes:,} bytes before lossless coding: {named}{more}; "
        "allow a larger size, or let a step touch them (do not skip them)"
    )


def _plan_tensor(
    spec: TensorSpec, role: ParameterRole | None, aliases: Mapping[str, str], skip: Sequence[str]
) -> TensorPlan:
    parameter = role.name if role else None
    if spec.name in aliases:
        target = aliases[spec.name]
        return TensorPlan(spec, "alias", f"tied to {target}", parameter, target=target)
    if spec.dtype not in FLOAT_DTYPES:
        return TensorPlan(spec, "keep", f"{spec.dtype} is not a float type that is quantized", parameter)
    if spec.n_elements == 0:
        return TensorPlan(spec, "keep", "no elements", parameter)
    pattern = next((pattern for pattern in skip if fnmatchcase(spec.name, pattern)), None)
    if pattern is not None:
        return TensorPlan(spec, "keep", f"skipped by {pattern!r}", parameter)
    if is_small(spec.shape):
        return TensorPlan(spec, "rtn", "small: fixed precision", parameter, is_fixed=True)
    if role is None:
        return TensorPlan(spec, "rtn", "not a parameter of the model: no statistics")
    if role.kind == "other":
        return TensorPlan(spec, "rtn", "neither linear nor embedding: no input statistics", parameter)
    kind = "token embedding" if role.kind == "embedding" and role.is_vocabulary else role.kind
    return TensorPlan(spec, "gptq", kind, parameter, is_transposed=role.is_transposed)
