"""Tree maps: areas are sizes, boxes do not overlap."""

from __future__ import annotations

from itertools import combinations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tersor.report.treemap import Box, squarify

ROOM = Box(0, 0, 1.8, 1)


@given(st.lists(st.floats(1, 1e6), min_size=1, max_size=30))
def test_areas_are_shares_and_boxes_lie_apart_inside_the_room(sizes: list[float]) -> None:
    boxes = squarify(sizes, ROOM)
    for size, box in zip(sizes, boxes, strict=True):
        assert box.area == pytest.approx(ROOM.area * size / sum(sizes), rel=1e-6, abs=1e-12)
        assert -1e-9 <= box.left <= box.right <= ROOM.right + 1e-9
        assert -1e-9 <= box.top <= box.bottom <= ROOM.bottom + 1e-9
    for a, b in combinations(boxes, 2):
        across = min(a.right, b.right) - max(a.left, b.left)
        down = min(a.bottom, b.bottom) - max(a.top, b.top)
        assert min(across, down) <= 1e-9


def test_equal_sizes_make_boxes_that_are_nearly_square() -> None:
    boxes = squarify([1.0] * 12, Box(0, 0, 4, 3))
    assert all(box.width / box.height == pytest.approx(1) for box in boxes)


def test_no_sizes_make_no_boxes() -> None:
    assert squarify([], ROOM) == []
