"""Orders and combinations of steps that cannot work, each with its reason."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from tersor.errors import UnknownNameError
from tersor.recipe.kinds import KINDS, PLACES, STRUCTURED
from tersor.recipe.methods import default_method, info_of, keeping_zeros
from tersor.recipe.problem import Problem
from tersor.recipe.step import Step, make_step

# (step, a step before it) -> why it cannot stand there.
_WHY = {
    ("structure", "recover"): "the recovery would be of a model that then loses more; put `recover` after it",
    (
        "structure",
        "weights",
    ): "it removes parts of plain float matrices and re-fits the rest, which fills zeros and undoes factors",
    ("structure", "store"): "it re-fits float weights, and codes cannot be re-fitted",
    (
        "recover",
        "weights",
    ): "tuning all weights fills the zeros and undoes the factors; `what: small` leaves both alone",
    (
        "recover",
        "store",
    ): "tuning all weights needs floats, and they are stored by then; `what: small` tunes what codes "
    "leave free",
    ("weights", "store"): "it decides by float weights, and they are rounded by then",
}
_PER_TENSOR = ("weights", "store")
_AFTER_CODE = "`code` ends a recipe: nothing changes a file once it is coded"
_NO_LOW_RANK = {
    "gguf": "llama.cpp has no matrices in two factors",
    "vllm": "vLLM has no layers in two factors",
}


def order_problems(steps: Sequence[Mapping[str, Any]], values: Mapping[str, object]) -> Iterator[Problem]:
    """Problems of steps whose kinds are known, as a sequence. values: the whole recipe's."""
    made = [
        make_step(step) for step in steps if all(isinstance(v, Mapping | str | None) for v in step.values())
    ]
    if len(made) < len(steps):
        return  # what is no mapping is reported by itself
    for number, step in enumerate(made):
        before = made[:number]
        why = next((found for earlier in before if (found := _why_not(step, earlier))), None)
        if why is None:
            why = _alone(step, before, values)
        if why is not None:
            yield ("steps", number), f"steps: {why}"
    yield from _whole(made, values)


def _why_not(step: Step, earlier: Step) -> str | None:
    """Why `step` cannot come after `earlier`."""
    place, before = KINDS[step.kind].place, KINDS[earlier.kind].place
    if earlier.kind == step.kind and earlier.targets is None and step.kind != "recover":
        return f"{step.kind} is there already and acts on all tensors; give the first one `targets`, or leave one out"
    if before == "code":
        return f"{step.kind} after code: {_AFTER_CODE}"
    if step.kind == "recover" and step.option("what") == "small":
        return None
    if PLACES.index(place) < PLACES.index(before):
        return f"{step.kind} after {earlier.kind}: {_WHY[place, before]}"
    if {step.kind, earlier.kind} == {"quantize", "cast"} and earlier.targets is None:
        return f"{step.kind} after {earlier.kind}: {_after_store(earlier.kind)}"
    return _pruned_factors(step, earlier)


def _after_store(earlier: str) -> str:
    if earlier == "quantize":
        return "codes have no float type; nothing is left to cast"
    return "quantizing makes codes of the original's floats, whatever type they would be stored in; leave the cast out"


def _pruned_factors(step: Step, earlier: Step) -> str | None:
    """Pruning and factors of the same matrices meet in the residual only."""
    if {step.kind, earlier.kind} != {"prune", "low_rank"}:
        return None
    low_rank = step if step.kind == "low_rank" else earlier
    if low_rank.option("residual"):
        return None
    if step.kind == "low_rank":
        return (
            "low_rank after prune: the product of two factors has no zeros, so they would be lost; "
            "`residual: true` keeps them"
        )
    return (
        "prune after low_rank: zeros in a factor are no zeros in the product, and cost as much error as in a matrix "
        "many times its size; prune what is left over (`residual: true`), or leave one of the two out"
    )


def _alone(step: Step, before: Sequence[Step], values: Mapping[str, object]) -> str | None:
    """What is wrong with a step in this place that no single earlier step tells."""
    if step.kind == "recover" and not before:
        return "recover: nothing before it changes the model, so there is nothing to recover"
    if step.kind == "recover" and before[-1].kind == "recover":
        return "recover: is there already; give one of the two more steps, and leave the other out"
    if KINDS[step.kind].place in _PER_TENSOR and _is_tuned_late(before):
        return (
            f"{step.kind} after recover: after steps on single tensors small parameters are tuned once, at the end; "
            "put `recover` after it"
        )
    if step.kind == "quantize" and any(earlier.kind == "prune" for earlier in before):
        return _lost_zeros(step.method or default_method(values.get("for")))
    purpose = str(values.get("for"))
    if step.kind == "low_rank" and purpose in _NO_LOW_RANK:
        return f"low_rank for {purpose}: {_NO_LOW_RANK[purpose]}"
    return None


def _is_tuned_late(steps: Sequence[Step]) -> bool:
    """Whether a `recover` comes after a step on single tensors."""
    first = next((n for n, step in enumerate(steps) if KINDS[step.kind].place in _PER_TENSOR), len(steps))
    return any(step.kind == "recover" for step in steps[first:])


def _lost_zeros(method: str) -> str | None:
    try:
        keeps = info_of("quantize", method).keeps_zeros
    except UnknownNameError:
        return None  # reported by itself
    if keeps:
        return None
    return (
        f"quantize after prune: {method!r} has no code for zero, so what was pruned would come back; "
        f"choose one of {', '.join(keeping_zeros())}"
    )


def _whole(steps: Sequence[Step], values: Mapping[str, object]) -> Iterator[Problem]:
    """Whether budget, drift correction and steps fit each other."""
    kinds = {step.kind for step in steps}
    if not steps:
        return
    for name in ("size", "max_loss"):
        if values.get(name) is not None and "quantize" not in kinds:
            yield (
                (name,),
                f"{name}: no step quantizes, so nothing can be made finer or coarser for it; add `- quantize: {{}}`",
            )
    if values.get("max_latency") is not None and kinds & set(STRUCTURED):
        yield (
            ("max_latency",),
            "max_latency: chooses what is removed by itself; leave out the steps "
            + ", ".join(sorted(kinds & set(STRUCTURED))),
        )
    if values.get("drift") == "on" and ("low_rank" in kinds or "quantize" not in kinds):
        why = (
            "has no correction for factors"
            if "low_rank" in kinds
            else "corrects what rounding does; no step quantizes"
        )
        yield ("drift",), f"drift: {why}; leave it out"
