"""The JSON of a finished compression and of a plan."""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from tersor.archive.inspect import inspect
from tersor.archive.reader import open_archive
from tersor.archive.writer import producer_name
from tersor.history import entry
from tersor.pipeline.attempts import Attempt, plain_recipe
from tersor.pipeline.job import Job
from tersor.planner.forecast import Forecast
from tersor.planner.plan import Plan, TensorPlan
from tersor.process import peak_rss_bytes

if TYPE_CHECKING:
    from tersor.pipeline.dry_run import Prediction

# What a result says beside its tensors, where it is known.
FACTS = ("loss", "latency", "reduce", "recover", "steps", "drift", "tune")
_ROWS_AT_ONCE = 4096


def result_json(
    job: Job, best: Attempt, folder: Path, source: str, output: str, started: float
) -> dict[str, Any]:
    """What was made: docs/cli.md. started: time.monotonic() at the start."""
    described = inspect(folder)
    errors = tensor_errors(job, folder, best.plan)
    plans = {tensor.spec.name: tensor for tensor in best.plan.tensors}
    return {
        "input": _input_json(job, source),
        "output": output_json(job, output, described["output"]["n_bytes"]),
        "tensors": [
            {**row, "error": errors[row["name"]], **_method(plans[row["name"]])}
            for row in described["tensors"]
        ],
        **{name: best.facts[name] for name in FACTS if name in best.facts},
        **_footer(job, started),
    }


def history_entry(result: Mapping[str, Any], best: Attempt) -> dict[str, Any]:
    """What the archive's history says about the compression: the result without times and paths of this machine."""
    facts = {name: result[name] for name in FACTS if name in result}
    if "latency" in facts:  # of this machine, at this moment
        facts["latency"] = {"limit": facts["latency"]["limit"], "steps": facts["latency"]["steps"]}
    sides = {
        side: {name: value for name, value in result[side].items() if name != "path"}
        for side in ("input", "output")
    }
    return entry(
        "compress",
        **sides,
        recipe=plain_recipe(result["recipe"]),
        tensors=result["tensors"],
        sensitivity=best.facts.get("sensitivity", {}),
        curves=best.facts.get("curves", {}),
        **facts,
    )


def plan_json(job: Job, found: Prediction, source: str, output: str, started: float) -> dict[str, Any]:
    """The result of a dry run: what would happen to each tensor and why, and what it would cost."""
    return {
        "input": _input_json(job, source),
        "output": output_json(job, output, found.n_bytes),
        "tensors": [_planned(tensor, found.tensors[tensor.spec.name]) for tensor in found.plan.tensors],
        "prediction": found.to_json(),
        **{name: found.facts[name] for name in FACTS if name in found.facts},
        **_footer(job, started),
    }


def output_json(job: Job, path: str, n_bytes: int | None) -> dict[str, Any]:
    """path, n_bytes, ratio, bits_per_weight of the output; None where the size is not known."""
    return {
        "path": path,
        "n_bytes": n_bytes,
        "ratio": None if n_bytes is None else n_bytes / job.n_input_bytes,
        "bits_per_weight": None if n_bytes is None else 8 * n_bytes / job.n_params,
    }


def layout_name(tensor: TensorPlan) -> str:
    """The layout that a tensor of a plan will be stored in."""
    if tensor.low_rank is not None:
        return "low_rank/1"
    if tensor.method == "float":
        return "sparse/1" if tensor.is_pruned else "dense/1"
    return {"keep": "dense/1", "alias": "alias/1"}.get(tensor.method, "grid/1")


def tensor_errors(job: Job, folder: Path, plan: Plan) -> dict[str, float]:
    """Relative squared error of every tensor of a finished archive; 0 where the original is all zero."""
    with open_archive(folder) as archive:
        errors = {}
        for n_done, tensor in enumerate(plan.tensors):
            name = tensor.spec.name
            is_kept = tensor.method == "keep" and name not in job.tuned
            errors[name] = 0.0 if is_kept else relative_error(job.weights.read(name), archive[name])
            job.weights.release(name)
            job.progress(n_done + 1, len(plan.tensors), "measuring the error")
        return errors


def relative_error(original: np.ndarray, stored: np.ndarray) -> float:
    """||stored - original||^2 / ||original||^2, a few rows at a time."""
    columns = original.shape[-1] if original.ndim else 1
    rows = original.reshape(-1, columns), stored.reshape(-1, columns)
    error = power = 0.0
    for first in range(0, len(rows[0]), _ROWS_AT_ONCE):
        before, after = (matrix[first : first + _ROWS_AT_ONCE].astype(np.float32) for matrix in rows)
        error += float(np.square(after - before, dtype=np.float64).sum())
        power += float(np.square(before, dtype=np.float64).sum())
    return error / power if power else 0.0


def _input_json(job: Job, path: str) -> dict[str, Any]:
    return {"path": path, "n_bytes": job.n_input_bytes, "n_params": job.n_params}


def _method(tensor: TensorPlan) -> dict[str, Any]:
    beside = {"prune": tensor.prune, "low_rank": tensor.low_rank}
    return {
        "method": tensor.method,
        "options": dict(tensor.options),
        **{name: asdict(choice) for name, choice in beside.items() if choice is not None},
        **({"cast": tensor.cast} if tensor.cast else {}),
    }


def _planned(tensor: TensorPlan, found: Forecast) -> dict[str, Any]:
    n_elements = tensor.spec.n_elements
    return {
        "name": tensor.spec.name,
        "shape": list(tensor.spec.shape),
        "dtype": tensor.spec.dtype,
        "layout": layout_name(tensor),
        "codec": "rans" if tensor.is_quantized else "auto",
        "n_bytes": round(found.n_bytes),
        "bits_per_weight": 8 * found.n_bytes / n_elements if n_elements else None,
        "error": found.error,
        **_method(tensor),
        "reason": tensor.reason,
    }


def _footer(job: Job, started: float) -> dict[str, Any]:
    return {
        "seconds": time.monotonic() - started,
        "peak_rss_bytes": peak_rss_bytes(),
        "recipe": job.recipe.to_dict(),
        "version": producer_name(),
    }
