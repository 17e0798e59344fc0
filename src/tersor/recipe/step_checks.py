"""Every step of a recipe: its kind, its options, its method. A problem is (path, what is wrong)."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from tersor.recipe.kinds import KINDS, StepKind
from tersor.recipe.loss import METRICS
from tersor.recipe.methods import default_method_of, join_names, method_problem, option_problems
from tersor.recipe.order import order_problems
from tersor.recipe.problem import Path, Problem
from tersor.recipe.step import BESIDE, kind_of
from tersor.registry import did_you_mean

MAX_STEPS = 100
_EXAMPLE = "{heads: {share: 0.25}}"
_METHOD_KEYS = ("method", "options")


def steps_problems(values: Mapping[str, object]) -> Iterator[Problem]:
    """Everything that is wrong with the field `steps`."""
    steps = values["steps"]
    if not isinstance(steps, list | tuple) or len(steps) > MAX_STEPS:
        yield ("steps",), f"steps: needs a list of at most {MAX_STEPS} steps like {_EXAMPLE}"
        return
    for name in _METHOD_KEYS:
        if steps and name in values:
            yield (name,), f"{name}: a recipe with steps says it there: `- quantize: {{{name}: ...}}`"
    kinds = []
    for number, step in enumerate(steps):
        kinds.append(kind_of(step) if isinstance(step, Mapping) else None)
        yield from _step(("steps", number), step, values.get("for"))
    if all(kind is not None for kind in kinds):
        yield from order_problems(steps, values)


def _step(path: Path, step: object, purpose: object) -> Iterator[Problem]:
    if not isinstance(step, Mapping):
        yield path, f"steps: a step is a mapping like {_EXAMPLE}, got {step!r}"
        return
    unknown = [key for key in step if key not in KINDS and key not in BESIDE]
    for key in unknown:
        known = f"{', '.join(KINDS)}; beside one of them {', '.join(BESIDE)}"
        yield (
            (*path, key),
            f"steps: unknown key {key!r}{did_you_mean(str(key), [*KINDS, *BESIDE])} Known: {known}.",
        )
    kinds = [key for key in step if key in KINDS]
    if len(kinds) > 1:
        yield path, f"steps: one step has one kind, got {' and '.join(kinds)}; write a `-` before each"
    elif not kinds and not unknown:
        yield path, f"steps: a step needs a kind: {', '.join(KINDS)}"
    for kind in kinds:
        yield from _kind((*path, kind), KINDS[kind], step[kind], purpose)
        yield from _beside(path, KINDS[kind], step)


def _beside(path: Path, kind: StepKind, step: Mapping[Any, Any]) -> Iterator[Problem]:
    """`targets` and `evaluate`."""
    targets, metric = step.get("targets"), step.get("evaluate")
    if targets is not None and not kind.per_tensor:
        yield (*path, "targets"), f"steps: {kind.name} acts on the whole model, so it has no targets"
    elif targets is not None and not (isinstance(targets, str) and targets):
        yield (*path, "targets"), f"steps: targets is a glob pattern of tensor names, got {targets!r}"
    if metric is not None and metric not in METRICS:
        near = did_you_mean(str(metric), METRICS)
        yield (*path, "evaluate"), f"steps: evaluate needs one of {', '.join(METRICS)}, got {metric!r}{near}"


def _kind(path: Path, kind: StepKind, options: object, purpose: object) -> Iterator[Problem]:
    if options is None:
        options = {}
    if not isinstance(options, Mapping):
        yield path, f"{kind.name}: needs a mapping of options such as {_example(kind)}, got {options!r}"
        return
    known = [*kind.options, *(_METHOD_KEYS if kind.has_method else ())]
    for name, value in options.items():
        if name not in known:
            near = did_you_mean(str(name), known)
            yield (*path, name), f"{kind.name}: unknown option {name!r}{near} Known: {join_names(known)}."
        elif name in kind.options and (needed := kind.options[name].check(value)):
            yield (*path, name), f"{kind.name}: {name}={value!r} needs {needed}"
    given = [name for name in kind.one_of if options.get(name) is not None]
    if kind.one_of and len(given) != 1:
        yield path, f"{kind.name}: needs {_one_of(kind)}, got {' and '.join(given) or 'none'}"
    if kind.name == "prune" and options.get("pattern") is not None and options.get("sparsity") is not None:
        yield (
            (*path, "sparsity"),
            "prune: a pattern says how much is removed; give sparsity or pattern, not both",
        )
    if kind.has_method:
        yield from _method(path, kind, options, purpose)


def _method(path: Path, kind: StepKind, options: Mapping[Any, Any], purpose: object) -> Iterator[Problem]:
    method = options.get("method", default_method_of(kind.name, purpose))
    problem = method_problem(method, purpose, kind.name)
    if problem is not None:
        yield (*path, "method") if "method" in options else path, f"{kind.name}: {problem}"
        return
    given = options.get("options")
    if given is not None and not isinstance(given, Mapping):
        yield (*path, "options"), f"{kind.name}: options needs a mapping such as {{bits: 4}}, got {given!r}"
        return
    for name, why in option_problems(method, given or {}, kind.name):
        yield (*path, "options", name), f"{kind.name}: {why}"


def _one_of(kind: StepKind) -> str:
    return kind.one_of[0] if len(kind.one_of) == 1 else f"one of {', '.join(kind.one_of)}"


def _example(kind: StepKind) -> str:
    name = (*kind.one_of, *kind.options, "method")[0]
    return f"{{{name}: ...}}"
