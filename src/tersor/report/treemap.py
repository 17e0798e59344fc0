"""Squarified tree maps: rectangles whose areas are sizes (Bruls, Huizing, van Wijk 2000)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Box:
    """A rectangle with corners (left, top) and (right, bottom)."""

    left: float
    top: float
    right: float
    bottom: float

    @property
    def width(self) -> float:
        return self.right - self.left

    @property
    def height(self) -> float:
        return self.bottom - self.top

    @property
    def area(self) -> float:
        return self.width * self.height


def squarify(sizes: Sequence[float], room: Box) -> list[Box]:
    """A box for each size, in the order of `sizes`, which together fill `room`.

    sizes: > 0. Guarantee: area_i = room.area * size_i / sum(sizes), up to rounding; boxes do not overlap.
    """
    order = sorted(range(len(sizes)), key=lambda i: -sizes[i])
    scale = room.area / sum(sizes) if sizes else 0.0
    boxes: dict[int, Box] = {}
    start = 0
    while start < len(order):
        side = min(room.width, room.height)
        end = start + 1
        areas = [sizes[order[start]] * scale]
        while end < len(order):
            longer = [*areas, sizes[order[end]] * scale]
            if _worst(longer, side) > _worst(areas, side):
                break
            areas = longer
            end += 1
        row, room = _cut(areas, room, is_last=end == len(order))
        boxes.update(zip(order[start:end], row, strict=True))
        start = end
    return [boxes[i] for i in range(len(sizes))]


def _worst(areas: Sequence[float], side: float) -> float:
    """The largest aspect ratio of boxes of these areas that share a strip along a side of this length."""
    total = sum(areas)
    if total <= 0 or side <= 0:
        return float("inf")
    return max(side * side * max(areas) / (total * total), total * total / (side * side * min(areas)))


def _cut(areas: Sequence[float], room: Box, *, is_last: bool) -> tuple[list[Box], Box]:
    """Boxes along the room's shorter side, and the room that is left. The last strip takes all of it."""
    is_tall_strip = room.width >= room.height
    side = room.height if is_tall_strip else room.width
    length = room.width if is_tall_strip else room.height
    thickness = length if is_last else min(sum(areas) / side, length) if side > 0 else 0.0
    total = sum(areas)
    boxes = []
    done = 0.0
    for area in areas:
        low, high = side * done / total, side * (done + area) / total
        done += area
        if is_tall_strip:
            boxes.append(Box(room.left, room.top + low, room.left + thickness, room.top + high))
        else:
            boxes.append(Box(room.left + low, room.top, room.left + high, room.top + thickness))
    if is_tall_strip:
        return boxes, Box(room.left + thickness, room.top, room.right, room.bottom)
    return boxes, Box(room.left, room.top + thickness, room.right, room.bottom)
