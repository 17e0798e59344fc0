"""The text that compress, pack and inspect print: two lines on input and output, then tensors if asked."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from tersor.cli.table import bytes_text, figure, shape_text, table


def summary(result: Mapping[str, Any], *, with_tensors: bool = False) -> str:
    """Return the text of a result of the form that `compress`, `pack` and `inspect` share."""
    parts = [_sides(result)]
    if with_tensors:
        parts.append(tensor_table(result["tensors"]))
    if result.get("seconds") is not None:
        peak = result.get("peak_rss_bytes")
        memory = f", {bytes_text(peak)} of memory at most" if peak is not None else ""
        parts.append(f"{result['seconds']:.1f} s{memory}")
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


def _sides(result: Mapping[str, Any]) -> str:
    """Return the table of input and output, without the columns that neither of them fills."""
    sides = {name: result[name] for name in ("input", "output") if name in result}
    columns = {
        "": list(sides),
        "path": [figure(side.get("path")) for side in sides.values()],
        "size": [bytes_text(side["n_bytes"]) for side in sides.values()],
        "bytes": [figure(side["n_bytes"]) for side in sides.values()],
        "parameters": [figure(side.get("n_params")) for side in sides.values()],
        "ratio": [figure(side.get("ratio")) for side in sides.values()],
        "bits/parameter": [figure(side.get("bits_per_weight")) for side in sides.values()],
    }
    filled = {name: cells for name, cells in columns.items() if any(cell != "-" for cell in cells)}
    return table(list(filled), list(zip(*filled.values(), strict=True)))
