"""What will happen to each tensor, and why: decided from names, types and shapes, before any work."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from fnmatch import fnmatchcase
from typing import Any

import numpy as np

from tersor.calibrate.roles import ParameterRole
from tersor.calibrate.walk import is_small
from tersor.errors import BudgetError, UsageError
from tersor.planner.names import match_names
from tersor.planner.purposes import PURPOSES
from tersor.planner.treatments import LowRankChoice, PruneChoice, Treatment, known_of, treatment_of
from tersor.quant import QUANTIZERS
from tersor.recipe import DEFAULT_METHOD, Step, TargetRule
from tersor.recipe.methods import default_method
from tersor.registry import did_you_mean
from tersor.types import FLOAT_DTYPES, TensorSpec

# "keep", "alias" and "float", or the name of a quantizer.
Method = str
NOT_QUANTIZED = ("keep", "alias", "float")


@dataclass(frozen=True, slots=True)
class TensorPlan:
    """One tensor's treatment.

    method: a name of QUANTIZERS, "keep" (stored without loss), "alias" (stored once, as `target`), "float" (changed,
        but not quantized: stored as floats).
    options: the method's own options (bits, group_size, ...); what is not given has the method's default.
    parameter: the model's name for it, which statistics go by; None if the model has no such parameter.
    is_fixed: its step does not follow the budget (small tensors).
    is_transposed: its matrix is the transpose of its last two dimensions.
    prune, low_rank, cast: what is done to it beside quantization; cast: the dtype it is stored in.
    """

    spec: TensorSpec
    method: Method
    reason: str
    parameter: str | None = None
    is_fixed: bool = False
    is_transposed: bool = False
    target: str | None = None
    options: Mapping[str, Any] = field(default_factory=dict)
    prune: PruneChoice | None = None
    low_rank: LowRankChoice | None = None
    cast: str | None = None

    @property
    def is_quantized(self) -> bool:
        return self.method not in NOT_QUANTIZED

    @property
    def is_pruned(self) -> bool:
        """The matrix itself is pruned, before anything else."""
        return self.prune is not None and not self.prune.of_residual

    @property
    def stored_spec(self) -> TensorSpec:
        """The tensor as it stands in the archive."""
        return self.spec if self.cast is None else replace(self.spec, dtype=self.cast)

    @property
    def follows_options(self) -> bool:
        """Its size is set by its method's options, not by the global step."""
        is_free = self.is_quantized and not self.is_fixed
        return is_free and QUANTIZERS.get(self.method).info.budget == "options"

    @property
    def follows_step(self) -> bool:
        """Its size is set by the global step."""
        return self.is_quantized and not self.is_fixed and not self.follows_options

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

    @property
    def follows_step(self) -> bool:
        """Some tensor's size is set by the global step."""
        return any(tensor.follows_step for tensor in self.tensors)

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


@dataclass(frozen=True, slots=True)
class Wishes:
    """What the recipe says about methods. rules: exceptions, the first that fits a tensor's name counts.

    steps: of a recipe, in their order; None: one that quantizes with `method` and `options`.
    """

    method: str = DEFAULT_METHOD
    options: Mapping[str, Any] = field(default_factory=dict)
    rules: Sequence[TargetRule] = ()
    purpose: str = "storage"
    steps: Sequence[Step] | None = None

    def quantizer_of(self, name: str) -> tuple[str, Mapping[str, Any]] | None:
        """(method, options) that the steps give a tensor; None if none of them quantizes it."""
        if self.steps is None:
            return self.method, self.options
        fitting = (step for step in self.steps if step.kind == "quantize" and step.fits(name))
        step = next(fitting, None)
        return None if step is None else (step.method or default_method(self.purpose), step.method_options)


def make_plan(
    specs: Sequence[TensorSpec],
    roles: Mapping[str, ParameterRole],
    *,
    aliases: Mapping[str, str] | None = None,
    wishes: Wishes | None = None,
) -> Plan:
    """Decide a method for every tensor.

    roles: of the model loaded from the checkpoint (`calibrate.parameter_roles`); names may differ by a prefix.
    aliases: tied tensor -> the tensor that holds its values.
    Raises: UsageError for a rule that fits no tensor.
    """
    ties, wanted = aliases or {}, wishes or Wishes()
    _check_rules(wanted.rules, [spec.name for spec in specs])
    parameters = match_names(
        {spec.name: spec.shape for spec in specs}, {n: role.shape for n, role in roles.items()}
    )
    return Plan(
        tuple(_plan_tensor(spec, roles.get(parameters.get(spec.name, "")), ties, wanted) for spec in specs)
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


def _check_rules(rules: Sequence[TargetRule], names: Sequence[str]) -> None:
    for number, rule in enumerate(rules):
        if not any(fnmatchcase(name, rule.match) for name in names):
            raise UsageError(
                f"recipe: targets[{number}]: {rule.match!r} fits no tensor{did_you_mean(rule.match, names)} "
                "`tersor compress --dry-run` lists them; * stands for any part of one"
            )


def _plan_tensor(
    spec: TensorSpec, role: ParameterRole | None, aliases: Mapping[str, str], wishes: Wishes
) -> TensorPlan:
    parameter = role.name if role else None
    if spec.name in aliases:
        target = aliases[spec.name]
        return TensorPlan(spec, "alias", f"tied to {target}", parameter, target=target)
    if spec.dtype not in FLOAT_DTYPES:
        return TensorPlan(spec, "keep", f"{spec.dtype} is not a float type that is quantized", parameter)
    if spec.n_elements == 0:
        return TensorPlan(spec, "keep", "no elements", parameter)
    rule = next((rule for rule in wishes.rules if fnmatchcase(spec.name, rule.match)), None)
    if rule is not None and rule.keep:
        return TensorPlan(spec, "keep", f"kept by the rule {rule.match!r}", parameter)
    is_transposed = role is not None and role.is_transposed
    shape = TensorPlan(spec, "keep", "", is_transposed=is_transposed).matrix_shape
    treatment = treatment_of(spec, role, wishes.steps or (), shape, small=is_small(spec.shape))
    return _with_treatment(_stored(spec, role, rule, wishes), treatment, is_transposed)


def _stored(
    spec: TensorSpec, role: ParameterRole | None, rule: TargetRule | None, wishes: Wishes
) -> TensorPlan:
    """What the tensor is stored as, pruned or not."""
    parameter = role.name if role else None
    quantizer = wishes.quantizer_of(spec.name)
    if quantizer is None and (rule is None or rule.method is None):
        if is_small(spec.shape) and parameter is not None:  # may be tuned
            return TensorPlan(spec, "float", "small: stored as floats", parameter, is_fixed=True)
        return TensorPlan(spec, "keep", "no step quantizes it", parameter)
    if is_small(spec.shape) and (rule is None or rule.method is None):
        return _small(spec, parameter, wishes.purpose)
    if wishes.purpose in PURPOSES and (why := PURPOSES[wishes.purpose].why_not(spec, role)):
        return TensorPlan(spec, "keep", why, parameter)
    return _quantized(spec, role, rule, quantizer, wishes.purpose)


def _with_treatment(tensor: TensorPlan, treatment: Treatment, is_transposed: bool) -> TensorPlan:
    """The plan with what is done beside quantization; a tensor that is changed is no longer kept."""
    if not treatment.notes:
        return tensor
    reason = "; ".join([*([] if tensor.method == "keep" else [tensor.reason]), *treatment.notes])
    parts = (treatment.prune, treatment.low_rank, treatment.cast)
    if all(part is None for part in parts):
        return replace(tensor, reason="; ".join([tensor.reason, *treatment.notes]))
    return replace(
        tensor,
        method="float" if tensor.method == "keep" else tensor.method,
        reason=reason,
        is_transposed=is_transposed and tensor.method != "alias",
        prune=treatment.prune,
        low_rank=treatment.low_rank,
        cast=None if tensor.is_quantized else treatment.cast,
    )


def _small(spec: TensorSpec, parameter: str | None, purpose: str) -> TensorPlan:
    if purpose in PURPOSES:
        return TensorPlan(spec, "keep", f"small: {purpose} takes it as it is", parameter)
    return TensorPlan(spec, "rtn", "small: fixed precision", parameter, is_fixed=True)


def _quantized(
    spec: TensorSpec,
    role: ParameterRole | None,
    rule: TargetRule | None,
    quantizer: tuple[str, Mapping[str, Any]] | None,
    purpose: str,
) -> TensorPlan:
    """A tensor that is quantized: with the rule's method, the step's, or what works without their statistics."""
    usual, given = quantizer or ("", {})
    method = usual if rule is None or rule.method is None else rule.method
    options = dict(given) if method == usual else {}
    options |= {} if rule is None else rule.options
    info = QUANTIZERS.get(method).info
    why = _what(role) if rule is None else f"{_what(role)}; rule {rule.match!r}"
    if info.needs - known_of(role):
        missing = ", ".join(sorted(info.needs - known_of(role)))
        method = _WITHOUT_STATISTICS[info.budget]
        known = QUANTIZERS.get(method).info.options
        options = {name: value for name, value in options.items() if name in known}
        why += f"; no {missing} for {info.name}"
    elif purpose in PURPOSES:
        why += f"; {purpose}: {PURPOSES[purpose].what}"
    is_transposed = role is not None and role.is_transposed
    parameter = None if role is None else role.name
    return TensorPlan(spec, method, why, parameter, is_transposed=is_transposed, options=options)


# What quantizes a tensor that a method lacks statistics for, by what sets the method's size.
_WITHOUT_STATISTICS = {"step": "rtn", "options": "fixed"}


def _what(role: ParameterRole | None) -> str:
    if role is None:
        return "not a parameter of the model: no statistics"
    if role.kind == "other":
        return "neither linear nor embedding: no input statistics"
    return "token embedding" if role.kind == "embedding" and role.is_vocabulary else role.kind
