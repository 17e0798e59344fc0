"""The table of a quality measurement, as text."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any


def table_cells(result: Mapping[str, Any]) -> tuple[list[str], list[list[str]]]:
    """Heads and rows: a peer is followed by tersor at its bytes; "of the peer": the ratio of the two errors."""
    heads = [
        "method",
        "setting",
        "bytes",
        "bits/param",
        result["metric"],
        "± (seeds)",
        "of the peer",
        "seconds",
    ]
    values = {f"{row['method']} {row['setting']}": row["value"] for row in result["rows"]}
    cells = []
    for row in result["rows"]:
        peer = values.get(row["equal_to"] or "")
        cells.append(
            [
                row["method"],
                row["setting"],
                f"{row['n_bytes']:,}",
                f"{row['bits_per_weight']:.3f}",
                f"{row['value']:.5f}",
                "" if row["stderr"] is None else f"{row['stderr']:.5f}",
                f"{row['value'] / peer:.3f}" if peer else "",
                f"{row['seconds']:.0f}",
            ]
        )
    return heads, cells


def notes(result: Mapping[str, Any]) -> list[str]:
    """What to say under the table."""
    source, machine, n_seeds = result["input"], result["machine"], result["seeds"]
    seeds = "1 seed" if n_seeds == 1 else f"{n_seeds} seeds"
    lines = [
        f"{source['path']}: {source['n_params']:,} parameters, {source['n_bytes']:,} bytes; {seeds}",
        "bytes: the whole weight file of tersor; of peers all tensors in their own format",
        f"{machine['processor']}, {machine['cores']} cores; {_versions(result)}",
    ]
    if result["not_installed"]:
        lines.append(f"not installed: {', '.join(result['not_installed'])}")
    return lines + [f"no figure: {one['method']}: {one['message']}" for one in result["failed"]]


def _versions(result: Mapping[str, Any]) -> str:
    """tersor's version and each peer's, once."""
    return ", ".join(dict.fromkeys([result["version"], *(row["version"] for row in result["rows"])]))
