"""The text of what `compress` made, or would make."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from tersor.cli.results import summary
from tersor.cli.table import bytes_text, figure, shape_text, table


def result_text(result: Mapping[str, Any]) -> str:
    """Return input and output, and the loss that was measured, if one was asked for."""
    loss = result.get("loss")
    if loss is None:
        return summary(result)
    return f"{summary(result)}\n\n{_loss(loss)}"


def plan_text(result: Mapping[str, Any]) -> str:
    """Return the text of a dry run: what would become of each tensor and why, and what it would cost."""
    columns = ("tensor", "shape", "dtype", "method", "options", "bits/weight", "expected error", "why")
    rows = [
        [
            t["name"],
            shape_text(t["shape"]),
            t["dtype"],
            t["method"],
            " ".join(f"{name}={value}" for name, value in t["options"].items()) or "-",
            figure(t["bits_per_weight"]),
            figure(t["error"], 3),
            t["reason"],
        ]
        for t in result["tensors"]
    ]
    return "\n\n".join([table(columns, rows), summary(result), _prediction(result), "nothing was written"])


def _prediction(result: Mapping[str, Any]) -> str:
    expected = result["prediction"]
    lines = [
        f"expected: {expected['seconds']:.0f} s, {bytes_text(expected['peak_rss_bytes'])} of memory at most"
    ]
    if expected["error"] is not None:
        lines.append(f"expected error of the output: {figure(expected['error'], 3)} ({expected['metric']})")
    return "\n".join([*lines, *expected["notes"]])


def _loss(loss: Mapping[str, Any]) -> str:
    unit = "nats" if loss["metric"] == "kl" else ""
    return (
        f"{loss['metric']} loss {figure(loss['value'], 3)} ± {figure(loss['stderr'], 2)} {unit}".rstrip()
        + f" on held-out text (at most {figure(loss['limit'], 3)})"
    )
