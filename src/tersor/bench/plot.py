"""Ratio against speed as an SVG picture, written by hand: nothing to install, and every browser shows it."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from statistics import median
from typing import Any
from xml.sax.saxutils import escape

from tersor.bench.peers.base import DECODE_COLD, DECODE_WARM, UNPACK
from tersor.errors import UsageError

WIDTH, HEIGHT = 860, 520
LEFT, RIGHT, TOP, BOTTOM = 76, 24, 62, 64
OWN_COLOURS = ("#0b3d91", "#1f77d0", "#4f8f8b", "#7d7f9a")
"""Of tersor's instruction sets, in the order of the rows."""
PEER_COLOUR = "#8a5a00"
LABEL_HEIGHT = 14
HALO: dict[str, str] = {"stroke": "white", "stroke-width": "3", "paint-order": "stroke"}
"""What keeps a label legible on a line."""
FAR = 2.5
"""How many times the distance from the best ratio to the median the axis covers above the best, at most."""
LEAST_MARGIN = 0.002
"""In ratio, beyond the outermost points."""


@dataclass(frozen=True, slots=True)
class Point:
    """One coder. speed: GB/s of decoding, > 0; own: the instruction set's place if it is tersor's, else None."""

    label: str
    speed: float
    ratio: float
    own: int | None


@dataclass(frozen=True, slots=True)
class Scale:
    """Numbers to places on an axis: linear, or by logarithm."""

    low: float
    high: float
    begin: float
    end: float
    logarithmic: bool = False

    def __call__(self, value: float) -> float:
        low, high, at = self.low, self.high, value
        if self.logarithmic:
            low, high, at = math.log(low), math.log(high), math.log(at)
        return self.begin + (at - low) / (high - low) * (self.end - self.begin)


def svg(result: Mapping[str, Any]) -> str:
    """Return the picture of a result's rows with the fewest threads: right is faster, down is smaller.

    Raises: UsageError if no coder but memcpy was measured.
    """
    points = points_of(result)
    if not points:
        raise UsageError(
            "--plot: only memcpy was measured, so there is nothing to draw; measure a coder as well"
        )
    limit = _memcpy_speed(result)
    speeds = [point.speed for point in points] + ([limit] if limit else [])
    across = Scale(min(speeds) / 1.25, max(speeds) * 1.6, LEFT, WIDTH - RIGHT, logarithmic=True)
    low, high = _ratio_range(points)
    down = Scale(low, high, HEIGHT - BOTTOM, TOP)
    parts = [
        *_frame(result),
        *_speed_axis(across),
        *_ratio_axis(down),
        *(_limit(across(limit)) if limit else []),
        *_curves(points, across, down),
        *_marks(points, across, down),
    ]
    head = (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {HEIGHT}" width="{WIDTH}" '
        f'height="{HEIGHT}" font-family="sans-serif" font-size="12">'
    )
    return "\n".join([head, *parts, "</svg>\n"])


def points_of(result: Mapping[str, Any]) -> list[Point]:
    """Return the coders that are drawn: warm decoding, or cold or unpacking for those that have nothing else."""
    rows = [row for row in result["rows"] if row["coder"] != "memcpy"]
    least = min((row["threads"] for row in rows), default=1)
    isas = list(dict.fromkeys(row["isa"] for row in rows if row["level"]))
    points = []
    for row in rows:
        speed = _decoding_speed(row)
        if row["threads"] == least and speed:
            label = f"{row['coder']} ({row['isa']})" if row["isa"] else row["coder"]
            points.append(Point(label, speed, row["ratio"], isas.index(row["isa"]) if row["level"] else None))
    return points


def _decoding_speed(row: Mapping[str, Any]) -> float | None:
    values = [row[f"{operation}_gb_s"] for operation in (DECODE_WARM, DECODE_COLD, UNPACK)]
    return next((float(value) for value in values if value), None)


def _memcpy_speed(result: Mapping[str, Any]) -> float | None:
    return next((_decoding_speed(row) for row in result["rows"] if row["coder"] == "memcpy"), None)


def _ratio_range(points: Sequence[Point]) -> tuple[float, float]:
    """Return the ends of the axis. Ratios far above the usual would squeeze all others; they go to the top edge."""
    ratios = [point.ratio for point in points]
    low = min(ratios)
    high = min(max(ratios), low + FAR * (median(ratios) - low) + LEAST_MARGIN)
    margin = max((high - low) * 0.12, LEAST_MARGIN)
    return low - margin, high + margin


def draw_text(x: float, y: float, words: str, anchor: str = "start", **attributes: str) -> str:
    extra = "".join(f' {name}="{value}"' for name, value in attributes.items())
    return f'<text x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}"{extra}>{escape(words)}</text>'


def _line(x1: float, y1: float, x2: float, y2: float, colour: str, dashes: str = "none") -> str:
    return (
        f'<line x1="{x1:.1f}" y1="{y1:.1f}" x2="{x2:.1f}" y2="{y2:.1f}" stroke="{colour}" '
        f'stroke-dasharray="{dashes}"/>'
    )


def _frame(result: Mapping[str, Any]) -> list[str]:
    sample = result["input"]
    title = f"Lossless, {sample['dtype']}, {sample['n_bytes'] / 1e6:.1f} MB: ratio against decoding speed"
    machine = (
        f"{result['machine']['processor']}, medians of {result['runs']} runs, fewest threads; "
        "into memory that exists, if the coder can"
    )
    return [
        f'<rect width="{WIDTH}" height="{HEIGHT}" fill="white"/>',
        draw_text(LEFT, 26, title, **{"font-size": "16"}),
        draw_text(LEFT, 44, machine, fill="#555"),
        draw_text((LEFT + WIDTH - RIGHT) / 2, HEIGHT - 18, "decoding, GB/s (right is faster)", "middle"),
        f'<g transform="translate(20 {(TOP + HEIGHT - BOTTOM) / 2:.0f}) rotate(-90)">'
        + draw_text(0, 0, "bytes stored / bytes of the original (down is smaller)", "middle")
        + "</g>",
    ]


def _speed_axis(across: Scale) -> list[str]:
    bottom = HEIGHT - BOTTOM
    parts = [_line(LEFT, bottom, WIDTH - RIGHT, bottom, "#333")]
    for power in range(math.floor(math.log10(across.low)), math.ceil(math.log10(across.high)) + 1):
        for digit in (1, 2, 5):
            value = digit * 10.0**power
            if across.low <= value <= across.high:
                parts.append(_line(across(value), TOP, across(value), bottom, "#e4e4e4"))
                parts.append(draw_text(across(value), bottom + 18, f"{value:g}", "middle"))
    return parts


def _ratio_axis(down: Scale) -> list[str]:
    step = _round_step((down.high - down.low) / 6)
    parts = [_line(LEFT, TOP, LEFT, HEIGHT - BOTTOM, "#333")]
    for number in range(math.ceil(down.low / step), math.floor(down.high / step) + 1):
        y = down(number * step)
        parts += [
            _line(LEFT, y, WIDTH - RIGHT, y, "#e4e4e4"),
            draw_text(LEFT - 8, y + 4, f"{number * step:.3g}", "end"),
        ]
    return parts


def _round_step(least: float) -> float:
    """Return the least of 1, 2, 5 times a power of ten that is at least `least`."""
    power = 10.0 ** math.floor(math.log10(least))
    return next((digit * power for digit in (1, 2, 5) if digit * power >= least), 10 * power)


def _limit(x: float) -> list[str]:
    return [
        _line(x, TOP, x, HEIGHT - BOTTOM, "#777", "5 4"),
        draw_text(x - 5, TOP + 12, "memcpy", "end", fill="#555"),
    ]


def _colour(point: Point) -> str:
    return PEER_COLOUR if point.own is None else OWN_COLOURS[point.own % len(OWN_COLOURS)]


def _curves(points: Sequence[Point], across: Scale, down: Scale) -> list[str]:
    """A line through tersor's levels for each instruction set."""
    curves = []
    for number in sorted({point.own for point in points if point.own is not None}):
        level_points = sorted(
            (point for point in points if point.own == number), key=lambda point: point.ratio
        )
        path = " ".join(f"{across(point.speed):.1f},{down(point.ratio):.1f}" for point in level_points)
        curves.append(f'<polyline points="{path}" fill="none" stroke="{_colour(level_points[0])}"/>')
    return curves


def _marks(points: Sequence[Point], across: Scale, down: Scale) -> list[str]:
    """A dot and a label for each point; labels that would lie on others are moved down."""
    parts: list[str] = []
    taken: list[tuple[float, float, float]] = []
    for point in sorted(points, key=lambda point: -point.ratio):
        is_above = point.ratio > down.high
        x, y, colour = across(point.speed), TOP if is_above else down(point.ratio), _colour(point)
        label = f"{point.label}: {point.ratio:.3f} \u2191" if is_above else point.label
        width = 6.6 * len(label)
        left = x + 8 if x + 8 + width < WIDTH else x - 8 - width
        label_y = _free_place(left, y + 4, width, taken)
        taken.append((left, label_y, width))
        parts.append(f'<circle cx="{x:.1f}" cy="{y:.1f}" r="4.5" fill="{colour}"/>')
        parts.append(draw_text(left, label_y, label, fill=colour, **HALO))
    return parts


def _free_place(left: float, y: float, width: float, taken: Sequence[tuple[float, float, float]]) -> float:
    """Return the first height at or below `y` where a label meets no other. taken: (left, y, width) of labels."""
    for other_left, other_y, other_width in sorted(taken, key=lambda label: label[1]):
        meets = left < other_left + other_width and other_left < left + width
        if meets and abs(other_y - y) < LABEL_HEIGHT:
            y = other_y + LABEL_HEIGHT
    return y
