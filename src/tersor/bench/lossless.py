"""Ratio and speed of tersor beside every other coder that is installed, on one file, on this machine.

All processes are started first and take turns: a run is one operation after the other by every contestant, so that a
machine that gets busy slows all alike. Figures are medians of the runs. What is restored is compared byte for byte.
"""

from __future__ import annotations

import os
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tersor.archive.writer import producer_name
from tersor.bench.child import Child, PeerFailedError, check_interpreter
from tersor.bench.contestant import OWN, Contestant, contestants
from tersor.bench.isa import available_isas
from tersor.bench.machine import machine
from tersor.bench.peers import PEERS
from tersor.bench.peers.base import OPERATIONS, Job
from tersor.bench.sample import Sample, make_sample
from tersor.errors import CorruptError, UnknownNameError, UsageError
from tersor.packing import LEVELS
from tersor.registry import did_you_mean

PEER_PYTHON = "TERSOR_PEER_PYTHON"
Progress = Callable[[float, float], None]


def measure_lossless(
    model: Path | None = None,
    *,
    dtype: str | None = None,
    runs: int = 5,
    threads: Sequence[int] = (1, 2),
    levels: Sequence[str] = LEVELS,
    peers: Sequence[str] | None = None,
    peer_python: str | None = None,
    progress: Progress | None = None,
) -> dict[str, Any]:
    """Measure tersor and its peers on one file; return the JSON of docs/cli.md.

    model, dtype: see `make_sample`. runs: >= 1. threads: each >= 1; those above the least for coders that use them.
    levels: of tersor. peers: names of PEERS, by default all. peer_python: an interpreter (or several, as in
        PATH) in whose environment peers are looked for that are not installed in this one; by default
        $TERSOR_PEER_PYTHON.
    Raises: UsageError; CorruptError if a coder does not restore the file; PeerFailedError if tersor itself fails.
    """
    started = time.monotonic()
    names = PEERS.names() if peers is None else list(peers)
    _check(names, levels, runs, threads)
    interpreters = [sys.executable]
    for other in filter(None, (peer_python or os.environ.get(PEER_PYTHON, "")).split(os.pathsep)):
        check_interpreter(other)
        interpreters.append(other)
    before = machine()  # its load is that of others, not ours
    isas = available_isas() if OWN in names else ("",)
    with tempfile.TemporaryDirectory(prefix="tersor-bench-") as folder, ExitStack() as stack:
        sample = make_sample(model, dtype, Path(folder))
        course = _Course(sample, Path(folder), interpreters, stack)
        for contestant in contestants(names, levels, sorted(set(threads)), isas):
            course.enter(contestant)
        course.run(runs, progress)
    return {
        "subject": "lossless",
        "input": {"path": str(sample.source), "n_bytes": sample.n_bytes, "dtype": sample.dtype},
        "runs": runs,
        "rows": [one.to_json(sample.n_bytes) for one in course.entered if not one.problem],
        "not_installed": course.not_installed,
        "failed": [
            {"coder": one.label, "threads": one.threads, "message": one.problem}
            for one in course.entered
            if one.problem
        ],
        "machine": before,
        "seconds": time.monotonic() - started,
        "version": producer_name(),
    }


def _check(names: Sequence[str], levels: Sequence[str], runs: int, threads: Sequence[int]) -> None:
    for name in names:
        PEERS.get(name)
    for level in levels:
        if level not in LEVELS:
            raise UnknownNameError(
                f"unknown level {level!r}{did_you_mean(level, LEVELS)} Known: {', '.join(LEVELS)}."
            )
    if runs < 1 or not threads or min(threads) < 1:
        raise UsageError(f"runs={runs}, threads={list(threads)}: each must be at least 1")


@dataclass(slots=True)
class _Turn:
    """One operation of one contestant, repeated by every run."""

    contestant: Contestant
    child: Child
    operation: str


class _Course:
    """The contestants, each with its process, on one sample.

    entered: those that are installed; not_installed: the names of the others.
    """

    def __init__(self, sample: Sample, folder: Path, interpreters: Sequence[str], stack: ExitStack) -> None:
        self.entered: list[Contestant] = []
        self.not_installed: list[str] = []
        self._turns: list[_Turn] = []
        self._sample = sample
        self._folder = folder
        self._interpreters = interpreters
        self._stack = stack

    def enter(self, contestant: Contestant) -> None:
        """Start a contestant's process in the first environment that has its coder, if any has."""
        if contestant.coder in self.not_installed:
            return
        own_folder = self._folder / str(len(self.entered))
        own_folder.mkdir()
        job = Job(
            str(self._sample.path),
            self._sample.dtype,
            str(own_folder),
            contestant.level,
            contestant.threads,
        )
        try:
            child = self._start(contestant, job)
        except PeerFailedError as exc:
            self._note(contestant, exc)
            self.entered.append(contestant)
            return
        if child is None:
            own_folder.rmdir()
            self.not_installed.append(contestant.coder)
            return
        contestant.version, contestant.isa = child.version, child.isa
        self.entered.append(contestant)
        operations = PEERS.get(contestant.coder).operations
        self._turns += [_Turn(contestant, child, name) for name in OPERATIONS if name in operations]

    def _start(self, contestant: Contestant, job: Job) -> Child | None:
        for interpreter in self._interpreters:
            child = Child(contestant.coder, job, interpreter, contestant.environment)
            if not child.missing:
                return self._stack.enter_context(child)
            child.close()
        return None

    def run(self, runs: int, progress: Progress | None) -> None:
        """Give every operation of every contestant `runs` turns, and one before that whose time is not kept."""
        n_turns = (runs + 1) * len(self._turns)
        for number in range(runs + 1):
            for place, turn in enumerate(self._turns):
                if not turn.contestant.problem:
                    self._take(turn, keep=number > 0)
                if progress is not None:
                    progress(number * len(self._turns) + place + 1, n_turns)

    def _take(self, turn: _Turn, *, keep: bool) -> None:
        contestant = turn.contestant
        try:
            seconds, n_bytes, same = turn.child.perform(turn.operation)
        except PeerFailedError as exc:
            self._note(contestant, exc)
            return
        if not same:
            raise CorruptError(
                f"{contestant.label}: {turn.operation} of {self._sample.path.name} ({self._sample.dtype}) does not "
                "give the bytes that went in; its figures mean nothing, leave it out with --peer"
            )
        contestant.n_bytes = n_bytes
        if keep:
            contestant.seconds.setdefault(turn.operation, []).append(seconds)

    def _note(self, contestant: Contestant, error: PeerFailedError) -> None:
        """Keep why a peer has no figures; tersor itself may not fail."""
        if contestant.coder == OWN:
            raise error
        contestant.problem = str(error)
