"""Decoding MiniLM as BF16 (or FP16, FP32): into memory that exists and into new memory, beside memcpy and zipnn.

Use: python benchmarks/decode.py [--dtype fp16] [--runs 15]      about two minutes
All processes are started first and take turns (`tersor bench lossless`); a run is one decoding after the other by each
of them, so that a machine that gets busy slows all alike. Figures are medians. What is decoded is compared byte for
byte. Bounds are those of BF16: rows 3, 4, 5 and 7 of the issue.
TERSOR_PEER_PYTHON: an interpreter of an environment with zipnn.
"""

from __future__ import annotations

import os
import sys
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from statistics import median

from common import Table, arguments, finish, minilm, work_folder
from tersor.bench.child import Child
from tersor.bench.contestant import Contestant, contestants
from tersor.bench.isa import available_isas
from tersor.bench.peers.base import DECODE_COLD, DECODE_WARM, ENCODE, PACK, Job
from tersor.bench.sample import make_sample

LEVELS = ("fast", "balanced", "max")
ISAS = ("avx512", "avx2")
# GB/s into memory that exists where memcpy makes 11: .77 / .5 / .2 of it with AVX-512, .55 / .32 / .16 with AVX2.
WARM = {
    "avx512": dict(zip(LEVELS, (8.5, 5.5, 2.2), strict=True)),
    "avx2": dict(zip(LEVELS, (6.0, 3.5, 1.76), strict=True)),
}
TIMES_ZIPNN = dict(zip(LEVELS, (3.0, 2.0, 0.8), strict=True))  # with its pages reused
COLD_TIMES_ZIPNN = 2.0  # as called; level fast
TIMES_ONE_THREAD = 1.8


@dataclass(slots=True)
class Entry:
    """One process, and the seconds of its decodings."""

    contestant: Contestant
    child: Child
    seconds: dict[str, list[float]] = field(default_factory=dict)

    @property
    def operations(self) -> tuple[str, ...]:
        return {"tersor": (DECODE_WARM, DECODE_COLD), "memcpy": (DECODE_WARM,)}.get(
            self.contestant.coder, (DECODE_COLD,)
        )

    def perform(self, operation: str) -> float:
        seconds, _, same = self.child.perform(operation)
        if not same:
            sys.exit(f"{self.contestant.label}: {operation} does not give the bytes that went in")
        return seconds


def enter(stack: ExitStack, job: Job, contestant: Contestant) -> Entry | None:
    """Start a contestant's process and let it encode; None if its coder is installed nowhere."""
    for interpreter in filter(None, (sys.executable, os.environ.get("TERSOR_PEER_PYTHON"))):
        child = stack.enter_context(Child(contestant.coder, job, interpreter, contestant.environment))
        if not child.missing:
            entry = Entry(contestant, child)
            entry.perform(PACK if contestant.coder == "tersor" else ENCODE)
            return entry
    return None


def measure(folder: Path, dtype: str, n_runs: int) -> tuple[list[Entry], int]:
    """Return the entries with their seconds, and the bytes of the file."""
    sample = make_sample(minilm() / "model.safetensors", dtype, folder)
    isas = [isa for isa in ISAS if isa in available_isas()] or [""]
    with ExitStack() as stack:
        entries: list[Entry] = []
        for contestant in contestants(["memcpy", "zipnn", "tersor"], LEVELS, (1, 2), isas):
            own = folder / str(len(entries))
            own.mkdir()
            job = Job(str(sample.path), sample.dtype, str(own), contestant.level, contestant.threads)
            entry = enter(stack, job, contestant)
            if entry is not None:
                entries.append(entry)
            else:
                own.rmdir()
        for number in range(n_runs + 1):  # the time of the first is not kept
            for entry in entries:
                for operation in entry.operations:
                    seconds = entry.perform(operation)
                    if number:
                        entry.seconds.setdefault(operation, []).append(seconds)
    return entries, sample.n_bytes


class Speeds:
    """GB of the original a second by coder, and what others are compared with."""

    def __init__(self, entries: list[Entry], n_bytes: int) -> None:
        self._of = {
            (e.contestant.label, e.contestant.isa, e.contestant.threads, operation): n_bytes
            / 1e9
            / median(seconds)
            for e in entries
            for operation, seconds in e.seconds.items()
        }

    def get(self, contestant: Contestant, operation: str) -> float | None:
        return self._of.get((contestant.label, contestant.isa, contestant.threads, operation))

    def other(self, label: str, operation: str, threads: int = 1) -> float | None:
        return self._of.get((label, "", threads, operation))

    def one_thread(self, contestant: Contestant, operation: str) -> float | None:
        return self._of.get((contestant.label, contestant.isa, 1, operation))


def times(speed: float | None, other: float | None) -> float | None:
    return None if speed is None or other is None else speed / other


def shown(value: float | None, suffix: str = "") -> str:
    return "" if value is None else f"{value:.2f}{suffix}"


def report(entries: list[Entry], speeds: Speeds, dtype: str, n_bytes: int) -> Table:
    """Return the table, with the bounds checked for BF16."""
    table = Table(
        f"Decoding MiniLM as {dtype.upper()}, {n_bytes:,} bytes, GB/s",
        "coder | isa | threads | warm | of memcpy | times zipnn, pages reused | times one thread | "
        "cold | times zipnn as called | ok",
    )
    memcpy = speeds.other("memcpy", DECODE_WARM)
    for contestant in (entry.contestant for entry in entries):
        warm, cold = speeds.get(contestant, DECODE_WARM), speeds.get(contestant, DECODE_COLD)
        is_own = contestant.coder == "tersor"
        reused = (
            times(warm, speeds.other("zipnn, pages reused", DECODE_COLD, contestant.threads))
            if is_own
            else None
        )
        called = times(cold, speeds.other("zipnn", DECODE_COLD, contestant.threads)) if is_own else None
        more = times(warm, speeds.one_thread(contestant, DECODE_WARM)) if contestant.threads > 1 else None
        misses = bounds_missed(contestant, warm, reused, called, more) if is_own and dtype == "bf16" else []
        table.add(
            contestant.label,
            contestant.isa,
            contestant.threads,
            shown(warm),
            shown(times(warm, memcpy)),
            shown(reused, "x"),
            shown(more, "x"),
            shown(cold),
            shown(called, "x"),
            "" if not is_own or dtype != "bf16" else table.check(not misses, "; ".join(misses)),
        )
    return table


def bounds_missed(
    contestant: Contestant, warm: float | None, reused: float | None, called: float | None, more: float | None
) -> list[str]:
    """Return what a row of tersor misses."""
    level, isa = contestant.level, contestant.isa
    wanted: list[tuple[str, float | None, float]] = []
    if contestant.threads > 1:
        wanted.append(("times one thread", more, TIMES_ONE_THREAD))
    else:
        if isa in WARM:
            wanted.append(("GB/s warm", warm, WARM[isa][level]))
        if isa == ISAS[0]:
            wanted.append(("times zipnn with its pages reused", reused, TIMES_ZIPNN[level]))
            if level == "fast":
                wanted.append(("times zipnn as called, cold", called, COLD_TIMES_ZIPNN))
    return [
        f"{contestant.label} {isa}: {value:.2f} {what}, needs {least}"
        for what, value, least in wanted
        if value is not None and value < least
    ]


def main() -> None:
    options = arguments(__doc__, dtype="bf16 (default), fp16 or fp32", runs="decodings by each (default 15)")
    dtype = options.dtype or "bf16"
    with work_folder(options.work) as folder:
        entries, n_bytes = measure(folder, dtype, int(options.runs or 15))
    finish(report(entries, Speeds(entries, n_bytes), dtype, n_bytes))


if __name__ == "__main__":
    main()
