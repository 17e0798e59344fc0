"""The table of a measurement, as text."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from tersor.bench.peers.base import DECODE_COLD, DECODE_WARM, ENCODE, PACK, UNPACK

COLUMNS = {
    "encode": ENCODE,
    "decode": DECODE_WARM,
    "decode cold": DECODE_COLD,
    "pack": PACK,
    "unpack": UNPACK,
}
"""Head -> operation, in the order of the table."""


def table_cells(result: Mapping[str, Any]) -> tuple[list[str], list[list[str]]]:
    """Return the heads and rows of a result's table; a column of no row's is left out."""
    rows = result["rows"]
    heads = ["coder", "isa", "threads", "ratio", *COLUMNS]
    cells = [
        [
            row["coder"],
            row["isa"] or "",
            str(row["threads"]),
            f"{row['ratio']:.5f}",
            *[_speed(row[f"{operation}_gb_s"]) for operation in COLUMNS.values()],
        ]
        for row in rows
    ]
    filled = [i for i in range(len(heads)) if any(row[i] for row in cells)]
    return [heads[i] for i in filled], [[row[i] for i in filled] for row in cells]


def notes(result: Mapping[str, Any]) -> list[str]:
    """Return the lines to print under the table: on what, by what, and who is missing."""
    sample, machine = result["input"], result["machine"]
    lines = [
        f"{sample['dtype']}, {sample['n_bytes']:,} bytes, {sample['path']}",
        f"ratio: all bytes to store; the rest: GB/s, medians of {result['runs']} interleaved runs, bytes compared",
        f"{machine['processor']}, {machine['cores']} cores, load {machine['load']} before; {_versions(result)}",
    ]
    if result["not_installed"]:
        lines.append(f"not installed: {', '.join(result['not_installed'])}")
    return lines + [f"failed: {one['message']}" for one in result["failed"]]


def markdown(result: Mapping[str, Any]) -> str:
    """Return the table as benchmarks/README.md holds it."""
    heads, rows = table_cells(result)
    lines = [heads, ["---"] * len(heads), *rows]
    return "\n".join("| " + " | ".join(line) + " |" for line in lines)


def _speed(value: float | None) -> str:
    return "" if value is None else f"{value:.2f}" if value < 100 else f"{value:.0f}"


def _versions(result: Mapping[str, Any]) -> str:
    """Return each coder once with its version; variants share it."""
    versions = {row["coder"].split(",")[0]: row["version"] for row in result["rows"] if row["version"]}
    own = {name: version for name, version in versions.items() if not name.startswith("tersor ")}
    return ", ".join([result["version"], *[f"{name} {version}" for name, version in own.items()]])
