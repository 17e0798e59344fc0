"""What decoding a block of every kind takes at most, sound or damaged, as JSON: for tests/test_decode_limits.py.

Use: python tests/fuzz/measure_limits.py [ROWS]      blocks of ROWS x 512 elements (default 128, at most 512)
In a process of its own: every allocation of 64 KiB or more is made to come from the system, so that the process's peak
shows it, and a limit of address space makes what no size justifies fail.
"""

from __future__ import annotations

import ctypes
import json
import random
import sys
import time
from collections.abc import Callable
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

import ml_dtypes
import numpy as np

from archives import random_array, random_grid
from fuzz.block_targets import (
    Sample,
    codebook_grid,
    delta,
    dense,
    gridded,
    half_exact,
    records,
    small_codes,
    trellis_grid,
)
from fuzz.drive import limit_memory
from fuzz.mutations import mutated
from tersor.errors import TersorError
from tersor.layouts.delta_words import DIFFERENCE, XOR
from tersor.types import TensorSpec

ROWS, COLUMNS, N_DAMAGED = int(sys.argv[1]) if len(sys.argv) > 1 else 128, 512, 8
M_MMAP_THRESHOLD = -3  # malloc.h


def floats(dtype: str) -> np.ndarray:
    return random_array(TensorSpec("w", dtype, (ROWS, COLUMNS)))


SAMPLES: dict[str, Callable[[], Sample]] = {
    "bytes": lambda: dense("U8", np.random.default_rng(0).integers(0, 256, (ROWS, COLUMNS), np.uint8)),
    "text": lambda: dense("U8", np.frombuffer(b"the best of times, " * 3000, np.uint8)[None]),
    "planes": lambda: dense("F64", floats("F64")),
    "fast BF16": lambda: dense("BF16", floats("BF16"), "fast"),
    "balanced F16": lambda: dense("F16", floats("F16")),
    "max BF16": lambda: dense("BF16", floats("BF16"), "max"),
    "balanced F32": lambda: dense("F32", floats("F32")),
    "narrow rows": lambda: dense("F32", half_exact(ROWS, COLUMNS)),
    "fields": lambda: dense("U8", records(3000)),
    "codes": lambda: dense("I8", small_codes(np.int8)),
    "FP8": lambda: dense("F8_E4M3", small_codes(np.float32).astype(ml_dtypes.float8_e4m3fn)),
    "differences": lambda: dense(
        "I64", np.cumsum(np.random.default_rng(1).integers(0, 99, (1, ROWS * COLUMNS)), axis=1)
    ),
    "delta F32": lambda: delta("F32", DIFFERENCE, ROWS, COLUMNS),
    "delta F64": lambda: delta("F64", XOR, ROWS, COLUMNS),
    "delta U8": lambda: delta("U8", DIFFERENCE, ROWS, COLUMNS),
    "grid": lambda: gridded("F32", random_grid(ROWS, COLUMNS)),
    "grid of groups": lambda: gridded("F16", random_grid(ROWS, COLUMNS, group_size=32)),
    "grid of one column groups": lambda: gridded("F32", random_grid(ROWS, COLUMNS, group_size=1)),
    "trellis": lambda: gridded("BF16", trellis_grid(ROWS, COLUMNS)),
    "codebook": lambda: gridded("F64", codebook_grid(ROWS, COLUMNS)),
}


def resident(name: str) -> int:
    """A figure of /proc/self/status in bytes: VmRSS now, VmHWM the most since `reset_peak`."""
    lines = Path("/proc/self/status").read_text().splitlines()
    (found,) = (line.split() for line in lines if line.startswith(name))
    return int(found[1]) * 1024


def reset_peak() -> None:
    Path("/proc/self/clear_refs").write_text("5")


def decode(sample: Sample, payload: bytes) -> bool:
    """Whether the payload is sound."""
    try:
        sample.parse(sample.head, payload)
    except TersorError:
        return False
    return True


def measure(sample: Sample) -> dict[str, float]:
    """The most that decoding the block or one of its damaged forms took."""
    assert decode(sample, sample.payload)  # compiles its tables, too
    chance, memory, seconds = random.Random(0), 0, 0.0
    for number in range(1 + N_DAMAGED):
        payload = mutated(sample.payload, [sample.payload], chance) if number else sample.payload
        reset_peak()
        before, started = resident("VmRSS"), time.process_time()
        decode(sample, payload)
        seconds = max(seconds, time.process_time() - started)
        memory = max(memory, resident("VmHWM") - before)
    sizes = {"elements": sample.spec.n_elements, "payload": len(sample.payload)}
    return {**sizes, "memory": memory, "seconds": seconds}


def main() -> None:
    ctypes.CDLL(None).mallopt(M_MMAP_THRESHOLD, 1 << 16)
    limit_memory()
    print(json.dumps({name: measure(make()) for name, make in SAMPLES.items()}))


if __name__ == "__main__":
    main()
