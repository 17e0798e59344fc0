"""Memory and time of every decode path stay within what docs/limits.md promises for the sizes that a block declares."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

# docs/limits.md, "Memory" and "Time"; the result is included.
BYTES_PER_ELEMENT, FREE_BYTES = 64, 4 << 20
SECONDS_PER_ELEMENT, FREE_SECONDS = 1e-6, 0.1
SCRIPT = Path(__file__).parent / "fuzz" / "measure_limits.py"
PATHS = (
    *(
        "bytes",
        "text",
        "planes",
        "fast BF16",
        "balanced F16",
        "max BF16",
        "balanced F32",
        "narrow rows",
        "fields",
    ),
    *("codes", "FP8", "differences", "delta F32", "delta F64", "delta U8"),
    *("grid", "grid of groups", "grid of one column groups", "trellis", "codebook"),
)


@pytest.fixture(scope="module")
def taken() -> dict[str, dict[str, float]]:
    done = subprocess.run([sys.executable, SCRIPT], capture_output=True, text=True, check=True)
    measured: dict[str, dict[str, float]] = json.loads(done.stdout)
    return measured


@pytest.mark.skipif(sys.platform != "linux", reason="peaks of memory are read from /proc")
@pytest.mark.parametrize("path", PATHS)
def test_a_block_takes_what_its_declared_size_allows(path: str, taken: dict[str, dict[str, float]]) -> None:
    found = taken[path]
    assert found["memory"] <= BYTES_PER_ELEMENT * found["elements"] + FREE_BYTES
    assert found["seconds"] <= SECONDS_PER_ELEMENT * found["elements"] + FREE_SECONDS


def test_every_measured_path_is_tested(taken: dict[str, dict[str, float]]) -> None:
    assert set(taken) == set(PATHS)
