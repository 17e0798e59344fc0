"""Why a plan removes something or not, in sentences."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from tersor.pipeline.job import Job


def removal_notes(job: Job, facts: Mapping[str, Any]) -> list[str]:
    """What is removed beside rounding, or why nothing is; facts: of `make_smaller`."""
    latency = facts.get("latency")
    if latency is not None:
        return [_faster(latency), *latency["notes"]]
    notes = []
    if "reduce" in facts:
        before, after = facts["reduce"]["n_params"]
        notes.append(f"the smaller model has {after:,} of {before:,} parameters; tensors below are its own")
    if any(tensor.prune for tensor in job.plan.tensors) and any(t.is_quantized for t in job.plan.tensors):
        notes.append(
            "pruned and quantized: at equal error the quantizer alone usually makes the smaller file, for its zeros "
            "cost next to nothing already; pruning is for programs that skip zeros"
        )
    if not notes and not job.recipe.steps:
        notes.append(_nothing(job.recipe.purpose))
    return notes


def _faster(latency: Mapping[str, Any]) -> str:
    steps = [f"{kind} {options['share']:g}" for step in latency["steps"] for kind, options in step.items()]
    removed = f"removes {', '.join(steps)}" if steps else "removes nothing"
    original, seconds = 1e3 * latency["original_seconds"], 1e3 * latency["seconds"]
    return (
        f"max_latency {latency['limit']}: {removed}: {seconds:.3g} ms a pass, the original {original:.3g} ms, by times "
        "of kernels on this machine; of all shares that are fast enough these move the output least"
    )


def _nothing(purpose: str) -> str:
    if purpose == "storage":
        return (
            "nothing is pruned: for storage the zeros of the quantizer do what pruning would, and cost no mask; "
            "structured steps and --max-latency make a model faster, not its file smaller at equal error"
        )
    if purpose == "cpu":
        return "nothing is removed: no --max-latency is given; it removes heads, neurons and layers until it is kept"
    return f"nothing is pruned: {purpose} runs dense layers"
