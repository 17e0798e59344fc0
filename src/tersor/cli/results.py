"""The text that compress, pack and inspect print: two lines on input and output, then tensors if asked."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from tersor.cli.table import bytes_text, figure, shape_text, table


def summary(result: Mapping[str, Any], *, with_tensors: bool = False) -> str:
    """Return the text of a result of the form that `compress`, `pack` and `inspect` share."""
    parts = [table(["", "path", "size", "bytes", "parameters", "ratio", "bits/parameter"], _sides(result))]
    if with_tensors:
        parts.append(tensor_table(result["tensors"]))
    if result.get("seconds") is not None:
        parts.append(f"{result['seconds']:.1f} s, {bytes_text(result['peak_rss_bytes'])} of memory at most")
    return "\n\n".join(parts)


def tensor_table(tensors: Sequence[Mapping[str, Any]]) -> str:
    """Return one line per tensor: name, shape, dtype, how it is stored, bytes, bits per weight, error."""
    rows = [
        [
            str(tensor["name"]),
            shape_text(tensor["shape"]),
            str(tensor["dtype"]),
            figure(tensor["layout"]),
            figure(tensor["codec"]),
            figure(tensor["n_bytes"]),
            figure(tensor["bits_per_weight"]),
            figure(tensor.get("error")),
        ]
        for tensor in tensors
    ]
    return table(["tensor", "shape", "dtype", "layout", "codec", "bytes", "bits/weight", "error"], rows)


def _sides(result: Mapping[str, Any]) -> list[list[str]]:
    rows = []
    for name in ("input", "output"):
        side = result.get(name)
        if side is None:
            continue
        n_bytes = side.get("n_bytes")
        rows.append(
            [
                name,
                figure(side.get("path")),
                "-" if n_bytes is None else bytes_text(n_bytes),
                figure(n_bytes),
                figure(side.get("n_params")),
                figure(side.get("ratio")),
                figure(side.get("bits_per_weight")),
            ]
        )
    return rows
