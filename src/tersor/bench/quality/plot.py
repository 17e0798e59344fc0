"""Bits per parameter against error as an SVG picture, written by hand like the lossless one."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any
from xml.sax.saxutils import escape

from tersor.bench.plot import BOTTOM, HALO, HEIGHT, LEFT, PEER_COLOUR, RIGHT, TOP, WIDTH, Scale, draw_text
from tersor.bench.quality.peers import QUALITY_PEERS
from tersor.errors import UsageError

COLOURS = ("#0b3d91", "#1f77d0", "#4f8f8b", "#7d7f9a", "#5b2a86", "#2e7d32")


def svg(result: Mapping[str, Any]) -> str:
    """The picture of a result: to the left is smaller, below is better; both by logarithm.

    Raises: UsageError if nothing with an error above 0 was measured.
    """
    rows = [row for row in result["rows"] if row["value"] > 0]
    if not rows:
        raise UsageError("--plot: no row has an error above 0, so there is nothing to draw")
    bits, errors = [row["bits_per_weight"] for row in rows], [row["value"] for row in rows]
    across = Scale(min(bits) / 1.1, max(bits) * 1.25, LEFT, WIDTH - RIGHT, logarithmic=True)
    down = Scale(min(errors) / 1.5, max(errors) * 1.5, HEIGHT - BOTTOM, TOP, logarithmic=True)
    lines: dict[str, list[Mapping[str, Any]]] = {}
    for row in rows:
        lines.setdefault(row["method"], []).append(row)
    parts = [
        draw_text(
            LEFT, 28, f"{result['metric']} against whole-file bits per parameter", **{"font-size": "16"}
        ),
        *_axes(across, down, bits, errors),
    ]
    own = [name for name in lines if name not in QUALITY_PEERS]
    for name, points in lines.items():
        colour = COLOURS[own.index(name) % len(COLOURS)] if name in own else PEER_COLOUR
        parts += _line(name, sorted(points, key=lambda row: row["bits_per_weight"]), colour, across, down)
    head = (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {HEIGHT}" width="{WIDTH}" '
        f'height="{HEIGHT}" font-family="sans-serif" font-size="12">'
    )
    return "\n".join([head, *parts, "</svg>\n"])


def _axes(across: Scale, down: Scale, bits: list[float], errors: list[float]) -> list[str]:
    parts = []
    for value in _marks(min(bits), max(bits)):
        x = across(value)
        parts.append(f'<line x1="{x:.1f}" y1="{TOP}" x2="{x:.1f}" y2="{HEIGHT - BOTTOM}" stroke="#ddd"/>')
        parts.append(draw_text(x, HEIGHT - BOTTOM + 18, f"{value:g}", "middle"))
    for value in _marks(min(errors), max(errors)):
        y = down(value)
        parts.append(f'<line x1="{LEFT}" y1="{y:.1f}" x2="{WIDTH - RIGHT}" y2="{y:.1f}" stroke="#ddd"/>')
        parts.append(draw_text(LEFT - 6, y + 4, f"{value:g}", "end"))
    parts.append(draw_text((LEFT + WIDTH - RIGHT) / 2, HEIGHT - BOTTOM + 40, "bits per parameter", "middle"))
    return parts


def _marks(low: float, high: float) -> list[float]:
    """1, 1.5, 2, 3, 4, 6, 8 times powers of ten within the range."""
    steps = (1.0, 1.5, 2.0, 3.0, 4.0, 6.0, 8.0)
    marks = [step * 10.0**power for power in range(-9, 6) for step in steps]
    return [mark for mark in marks if low * 0.95 <= mark <= high * 1.05]


def _line(name: str, points: list[Mapping[str, Any]], colour: str, across: Scale, down: Scale) -> list[str]:
    places = [(across(row["bits_per_weight"]), down(row["value"])) for row in points]
    path = " ".join(f"{x:.1f},{y:.1f}" for x, y in places)
    parts = [f'<polyline points="{path}" fill="none" stroke="{colour}" stroke-width="1.5"/>']
    for (x, y), row in zip(places, points, strict=True):
        title = escape(f"{row['method']} {row['setting']}: {row['n_bytes']:,} bytes, {row['value']:.5g}")
        parts.append(
            f'<circle cx="{x:.1f}" cy="{y:.1f}" r="4" fill="{colour}"><title>{title}</title></circle>'
        )
    x, y = places[-1]
    return [*parts, draw_text(x + 7, y + 4, name, fill=colour, **HALO)]
