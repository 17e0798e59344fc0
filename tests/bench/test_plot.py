"""The picture and the tables of a result."""

from __future__ import annotations

from typing import Any
from xml.etree import ElementTree

import pytest

from tersor.bench.peers.base import OPERATIONS
from tersor.bench.plot import HEIGHT, WIDTH, svg
from tersor.bench.report import markdown, notes
from tersor.errors import UsageError

TEXT = "{http://www.w3.org/2000/svg}text"
CIRCLE = "{http://www.w3.org/2000/svg}circle"


def row(
    coder: str, ratio: float, threads: int = 1, level: str | None = None, **speeds: float
) -> dict[str, Any]:
    return {
        "coder": coder,
        "level": level,
        "isa": "avx2" if level else None,
        "threads": threads,
        "version": "1.0",
        "n_bytes": int(ratio * 1000),
        "ratio": ratio,
        **{f"{name}_gb_s": speeds.get(name) for name in OPERATIONS},
        "seconds": {},
    }


@pytest.fixture
def result() -> dict[str, Any]:
    return {
        "subject": "lossless",
        "input": {"path": "a<b&c", "n_bytes": 1000, "dtype": "BF16"},
        "runs": 3,
        "rows": [
            row("memcpy", 1.0, decode_warm=10.0, decode_cold=3.0),
            row("tersor fast", 0.66, level="fast", decode_warm=8.0, pack=0.5),
            row("tersor max", 0.65, level="max", decode_warm=2.0, pack=0.1),
            row("tersor max", 0.65, threads=2, level="max", decode_warm=4.0),
            row("<other> & co", 0.665, decode_cold=1.0),
            row("poor", 0.95, unpack=0.5),
        ],
        "not_installed": ["lmzip"],
        "failed": [{"coder": "bad", "threads": 1, "message": "bad: exit code 1: ValueError: x"}],
        "machine": {"processor": "A & B", "cores": 2, "load": 0.5},
        "seconds": 1.0,
        "version": "tersor 0.1",
    }


def test_plot_is_well_formed_and_inside_its_frame(result: dict[str, Any]) -> None:
    root = ElementTree.fromstring(svg(result))
    for circle in root.iter(CIRCLE):
        assert 0 <= float(circle.attrib["cx"]) <= WIDTH
        assert 0 <= float(circle.attrib["cy"]) <= HEIGHT


def test_plot_names_each_coder_of_the_fewest_threads_once(result: dict[str, Any]) -> None:
    words = [element.text or "" for element in ElementTree.fromstring(svg(result)).iter(TEXT)]
    for label in ("tersor fast (avx2)", "tersor max (avx2)", "<other> & co", "memcpy"):
        assert words.count(label) == 1


def test_plot_puts_smaller_lower_and_faster_to_the_right(result: dict[str, Any]) -> None:
    circles = {
        c.attrib["cx"]: float(c.attrib["cy"]) for c in ElementTree.fromstring(svg(result)).iter(CIRCLE)
    }
    by_speed = [circles[x] for x in sorted(circles, key=float)]  # poor, other, max, fast
    poor, other, smallest, fastest = by_speed
    assert poor < other < fastest < smallest


def test_plot_says_the_ratio_of_a_coder_far_above(result: dict[str, Any]) -> None:
    assert "poor: 0.950 ↑" in svg(result)


def test_plot_of_one_point_or_of_nothing(result: dict[str, Any]) -> None:
    result["rows"] = result["rows"][1:2]
    ElementTree.fromstring(svg(result))
    result["rows"] = []
    with pytest.raises(UsageError, match="nothing to draw"):
        svg(result)


def test_table_leaves_out_what_nobody_has(result: dict[str, Any]) -> None:
    lines = markdown(result).splitlines()
    assert lines[0] == "| coder | isa | threads | ratio | decode | decode cold | pack | unpack |"
    assert lines[3] == "| tersor fast | avx2 | 1 | 0.66000 | 8.00 |  | 0.50 |  |"


def test_notes_name_the_missing_and_the_failed(result: dict[str, Any]) -> None:
    text = "\n".join(notes(result))
    assert "not installed: lmzip" in text
    assert "failed: bad: exit code 1: ValueError: x" in text
    assert "medians of 3" in text
