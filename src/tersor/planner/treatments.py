"""What the steps of a recipe do to one tensor: which of them act on it, and how."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from tersor.calibrate.roles import ParameterRole
from tersor.errors import ShapeError
from tersor.lowrank import rank_for
from tersor.prune import PruneConfig
from tersor.prune.pattern import Pattern
from tersor.quant.info import STATISTICS
from tersor.recipe import Step
from tersor.recipe.kinds import CAST_DTYPES
from tersor.recipe.methods import DEFAULT_FACTORIZER, DEFAULT_PRUNER, info_of
from tersor.types import TensorSpec

# What prunes and factorizes tensors whose statistics calibration cannot collect.
PLAIN_PRUNER, PLAIN_FACTORIZER = "magnitude", "svd"
_LINEAR = frozenset({"linear", "conv1d"})


@dataclass(frozen=True, slots=True)
class PruneChoice:
    """How a tensor is pruned. sparsity: None if the pattern says it.

    of_residual: what the factors of the tensor leave over is pruned, not the tensor.
    """

    method: str
    sparsity: float | None
    scope: str = "row"
    pattern: str | None = None
    options: Mapping[str, Any] = field(default_factory=dict)
    of_residual: bool = False

    def config(self, threshold: float | None = None, threads: int = 1) -> PruneConfig:
        """The same for `prune_matrix`. threshold: of scope global."""
        sparsity = None if self.scope == "global" else self.sparsity
        return PruneConfig(sparsity, self.scope, self.pattern, threshold, self.options, threads)  # type: ignore[arg-type]

    @property
    def share_kept(self) -> float:
        """Share of the weights that stay."""
        removed = Pattern.parse(self.pattern).sparsity if self.pattern else self.sparsity
        return 1.0 - (removed or 0.0)

    def what(self) -> str:
        """A few words, for the plan."""
        amount = self.pattern or f"{self.sparsity:.0%} of each {self.scope}".replace(
            "each global", "all tensors"
        )
        return f"pruned: {self.method}, {amount}{' of what factors leave' if self.of_residual else ''}"


@dataclass(frozen=True, slots=True)
class LowRankChoice:
    """How a tensor is factorized.

    keep: parameters of the factors over those of the matrix, of all tensors together once `rank` is chosen.
    rank: None: the greatest that `keep` allows this tensor.
    """

    method: str
    keep: float
    residual: bool = False
    options: Mapping[str, Any] = field(default_factory=dict)
    rank: int | None = None

    def rank_of(self, matrix_shape: tuple[int, int]) -> int:
        """The rank of a matrix of that shape."""
        return self.rank or rank_for(matrix_shape, self.keep)

    def what(self) -> str:
        """A few words, for the plan."""
        residual = " and a residual" if self.residual else ""
        return f"two factors: {self.method}, {self.keep:g} of the parameters{residual}"


@dataclass(frozen=True, slots=True)
class Treatment:
    """What is done to a tensor beside quantization. notes: what, and why not, for the plan."""

    prune: PruneChoice | None = None
    low_rank: LowRankChoice | None = None
    cast: str | None = None
    notes: tuple[str, ...] = ()


def treatment_of(
    spec: TensorSpec,
    role: ParameterRole | None,
    steps: Sequence[Step],
    matrix_shape: tuple[int, int],
    *,
    small: bool,
) -> Treatment:
    """What the steps `prune`, `low_rank` and `cast` do to a float tensor.

    matrix_shape: (rows, columns) as methods see it. small: a vector, or as small as one.
    Of several steps of a kind the first whose pattern fits the name counts. Without a pattern prune and low_rank act on
    linear layers (no embeddings, no head over the vocabulary).
    """
    notes: list[str] = []
    found = {kind: _step_for(kind, steps, spec.name, role) for kind in ("prune", "low_rank", "cast")}
    is_matrix = not small and len(spec.shape) == 2
    order = [step.kind for step in steps]
    low_rank = _low_rank(found["low_rank"], role, notes) if is_matrix else None
    prune = None
    if found["prune"] is not None and is_matrix:
        of_residual = low_rank is not None and order.index("low_rank") < order.index("prune")
        prune = _prune(found["prune"], role, matrix_shape, of_residual, notes)
    cast = found["cast"]
    dtype = None if cast is None else CAST_DTYPES[cast.option("dtype")]
    if dtype is not None and dtype != spec.dtype:
        notes.append(f"stored as {dtype}")
    return Treatment(prune, low_rank, dtype if dtype != spec.dtype else None, tuple(notes))


def _step_for(kind: str, steps: Sequence[Step], name: str, role: ParameterRole | None) -> Step | None:
    for step in steps:
        if step.kind == kind and step.fits(name) and (kind == "cast" or step.targets or _is_linear(role)):
            return step
    return None


def _is_linear(role: ParameterRole | None) -> bool:
    return role is not None and role.kind in _LINEAR and not role.is_vocabulary


def _prune(
    step: Step,
    role: ParameterRole | None,
    matrix_shape: tuple[int, int],
    of_residual: bool,
    notes: list[str],
) -> PruneChoice | None:
    pattern = step.option("pattern")
    if pattern is not None:
        try:
            Pattern.parse(pattern).check_columns(matrix_shape[1])
        except ShapeError as exc:
            notes.append(f"not pruned: {exc}")
            return None
    method, options = step.method or DEFAULT_PRUNER, step.method_options
    missing = info_of("prune", method).needs - known_of(role)
    if missing:
        notes.append(f"no {', '.join(sorted(missing))} for {method}")
        method, options = PLAIN_PRUNER, {}
    sparsity = None if pattern is not None else step.option("sparsity")
    choice = PruneChoice(method, sparsity, step.option("scope") or "row", pattern, options, of_residual)
    notes.append(choice.what())
    return choice


def _low_rank(step: Step | None, role: ParameterRole | None, notes: list[str]) -> LowRankChoice | None:
    if step is None:
        return None
    method, options = step.method or DEFAULT_FACTORIZER, step.method_options
    missing = info_of("low_rank", method).needs - known_of(role)
    if missing:
        notes.append(f"no {', '.join(sorted(missing))} for {method}")
        method, options = PLAIN_FACTORIZER, {}
    choice = LowRankChoice(method, step.option("keep"), step.option("residual"), options)
    notes.append(choice.what())
    return choice


def known_of(role: ParameterRole | None) -> frozenset[str]:
    """The statistics that calibration can collect for a parameter."""
    if role is None or role.kind == "other":
        return frozenset()
    if role.kind == "embedding":
        return frozenset({"factor", "hessian", "row_weights"})
    return STATISTICS
