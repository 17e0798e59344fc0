"""The text of what `compress` made, or would make."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from tersor.cli.results import summary
from tersor.cli.table import bytes_text, figure, shape_text, table


def result_text(result: Mapping[str, Any]) -> str:
    """Return input and output, and what was measured: after steps, of latency, of the loss asked for."""
    lines = [*map(_step, result.get("steps", []))]
    if result.get("latency") is not None:
        lines.append(_latency(result["latency"]))
    if result.get("loss") is not None:
        lines.append(_loss(result["loss"]))
    return "\n\n".join([summary(result), *(["\n".join(lines)] if lines else [])])


def plan_text(result: Mapping[str, Any]) -> str:
    """Return the text of a dry run: what would become of each tensor and why, and what it would cost."""
    columns = ("tensor", "shape", "dtype", "method", "options", "bits/weight", "expected error", "why")
    rows = [
        [
            t["name"],
            shape_text(t["shape"]),
            t["dtype"],
            _treatment(t),
            " ".join(f"{name}={value}" for name, value in t["options"].items()) or "-",
            figure(t["bits_per_weight"]),
            figure(t["error"], 3),
            t["reason"],
        ]
        for t in result["tensors"]
    ]
    return "\n\n".join([table(columns, rows), summary(result), _prediction(result), "nothing was written"])


def _treatment(row: Mapping[str, Any]) -> str:
    """All that is done to a tensor: pruned, in factors, then its method."""
    parts = [name for name in ("prune", "low_rank") if name in row]
    return "+".join([*parts, row["method"]] if row["method"] != "float" else parts or ["float"])


def _prediction(result: Mapping[str, Any]) -> str:
    expected = result["prediction"]
    lines = [
        f"expected: {expected['seconds']:.0f} s, {bytes_text(expected['peak_rss_bytes'])} of memory at most"
    ]
    if expected["error"] is not None:
        lines.append(f"expected error of the output: {figure(expected['error'], 3)} ({expected['metric']})")
    return "\n".join([*lines, *expected["notes"]])


def _loss(loss: Mapping[str, Any]) -> str:
    value, stderr, limit = (loss_text(loss["metric"], loss[name]) for name in ("value", "stderr", "limit"))
    return f"{loss['metric']} loss {value} ± {stderr} on held-out text (at most {limit})"


def _step(row: Mapping[str, Any]) -> str:
    kind = next(iter(row["step"]))
    value, stderr = (loss_text(row["metric"], row[name]) for name in ("value", "stderr"))
    return f"after {kind}: {row['metric']} loss {value} ± {stderr}"


def _latency(latency: Mapping[str, Any]) -> str:
    steps = (
        ", ".join(f"{k} {v['share']:g}" for step in latency["steps"] for k, v in step.items()) or "nothing"
    )
    original, seconds = latency["original_seconds"], latency["seconds"]
    return (
        f"one pass {1e3 * seconds:.3g} ms, the original {1e3 * original:.3g} ms ({seconds / original:.2f}x, at most "
        f"{latency['limit']}); removed: {steps}"
    )


def loss_text(metric: str, value: float) -> str:
    """A loss as users write limits: nats of kl, else percent."""
    return f"{figure(value, 3)} nats" if metric == "kl" else f"{100 * value:.3g}%"
