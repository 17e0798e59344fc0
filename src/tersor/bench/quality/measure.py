"""`measure_quality`: methods of tersor and peers on one model, whole-file bytes against error on held-out text."""

from __future__ import annotations

import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from tersor.archive.writer import producer_name
from tersor.bench.child import PeerFailedError, check_interpreter
from tersor.bench.machine import machine
from tersor.bench.quality.child import find_interpreter
from tersor.bench.quality.course import METRIC_OF, Course, PeerRun
from tersor.bench.quality.entry import Entry
from tersor.bench.quality.peers import QUALITY_PEERS
from tersor.errors import UsageError
from tersor.quant import QUANTIZERS
from tersor.recipe import DEFAULT_METHOD, parse_size

Progress = Callable[[float, float], None]


def measure_quality(
    model: Path,
    *,
    task: str,
    methods: Sequence[str] = (DEFAULT_METHOD,),
    sizes: Sequence[str] = ("4bpw", "3bpw"),
    peers: Sequence[str] | None = None,
    peer_settings: Sequence[str] = (),
    peer_model: Path | None = None,
    peer_pythons: Sequence[str] = (),
    seeds: int = 1,
    calibration: Path | None = None,
    data: Path | None = None,
    threads: int = 1,
    progress: Progress | None = None,
) -> dict[str, Any]:
    """Measure each method at each size, each peer at each of its settings, and the default method at each peer's bytes.

    model: a Hugging Face folder. task: embedding, kl or perplexity. sizes: as `--size`. peers: names of QUALITY_PEERS;
        None: all. peer_settings: only these of the peers' settings; all if empty. peer_model: an equivalent model that
        suits the peers' formats better; by default `model`. peer_pythons: interpreters to look for peers in, after
        this one. seeds: of calibration and of the choice of held-out text: 0 .. seeds-1; peers run once.
    calibration: text for all that use one; None: the built-in. data: held-out text; None: the built-in.
    progress: called with (entries done, entries in all).
    Returns the JSON of docs/cli.md; a method that cannot meet a size and a peer that fails are listed with the reason.
    Raises: UsageError, UnknownNameError, before anything runs.
    """
    names = QUALITY_PEERS.names() if peers is None else list(peers)
    _check(task, methods, sizes, names, peer_settings, seeds)
    for interpreter in peer_pythons:
        check_interpreter(interpreter)
    started = time.monotonic()
    before = machine()
    runs, not_installed, failed = _find(names, peer_settings, [sys.executable, *peer_pythons])
    with tempfile.TemporaryDirectory(prefix="tersor-bench-") as folder:
        course = Course(model, task, calibration, data, range(seeds), threads, Path(folder))
        n_entries = len(methods) * len(sizes) + len(runs)
        for method in methods:
            for size in sizes:
                course.measure_method(method, size)
                _tell(progress, course, n_entries)
        checkpoint = course.peer_checkpoint(peer_model or model) if runs else None
        for run in runs:
            assert checkpoint is not None
            course.measure_peer(run, checkpoint)
            _tell(progress, course, n_entries)
    entries = [*failed, *course.entries]
    return {
        "subject": "quality",
        "input": {"path": str(model), "n_bytes": course.n_input_bytes, "n_params": course.n_params},
        "metric": METRIC_OF[task],
        "seeds": seeds,
        "rows": [one.to_json(course.n_params) for one in entries if not one.problem],
        "not_installed": not_installed,
        "failed": [{"method": one.label, "message": one.problem} for one in entries if one.problem],
        "machine": before,
        "seconds": time.monotonic() - started,
        "version": producer_name(),
    }


def _check(
    task: str,
    methods: Sequence[str],
    sizes: Sequence[str],
    peers: Sequence[str],
    settings: Sequence[str],
    seeds: int,
) -> None:
    if task not in METRIC_OF:
        raise UsageError(f"task {task!r}: quality is measured by {', '.join(METRIC_OF)}")
    if seeds < 1:
        raise UsageError(f"seeds={seeds}: needs 1 or more")
    for method in methods:
        QUANTIZERS.get(method)
    for size in sizes:
        parse_size(size)
    known = {setting for name in peers for setting in QUALITY_PEERS.get(name).settings}
    for setting in settings:
        if setting not in known:
            raise UsageError(f"peer setting {setting!r}: the chosen peers have {', '.join(sorted(known))}")


def _find(
    names: Sequence[str], wanted: Sequence[str], interpreters: Sequence[str]
) -> tuple[list[PeerRun], list[str], list[Entry]]:
    """What to run, from large to small; names of the peers that are not installed; peers that fail to start."""
    runs: list[PeerRun] = []
    not_installed: list[str] = []
    failed: list[Entry] = []
    for name in names:
        settings = [one for one in QUALITY_PEERS.get(name).settings if not wanted or one in wanted]
        if not settings:
            continue
        try:
            found = find_interpreter(name, interpreters)
        except PeerFailedError as exc:
            failed.append(Entry(name, "", "", problem=str(exc)))
            continue
        if found is None:
            not_installed.append(name)
        else:
            runs += [PeerRun(name, setting, *found) for setting in settings]
    return runs, not_installed, failed


def _tell(progress: Progress | None, course: Course, n_entries: int) -> None:
    if progress is not None:
        progress(course.n_done, n_entries)
