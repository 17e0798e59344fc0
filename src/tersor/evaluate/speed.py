"""How fast a model is and what it takes: latency, tokens per second, load time, memory, bytes on disk."""

from __future__ import annotations

import os
import platform
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from functools import partial
from pathlib import Path as FilePath
from typing import Any

import numpy as np
import torch

from tersor.errors import UsageError
from tersor.evaluate.options import Options
from tersor.evaluate.samples import Timed, standard_error
from tersor.evaluate.size import weight_bytes
from tersor.evaluate.speed_process import SpeedProcess
from tersor.evaluate.speed_rounds import Rounds, Shape, Times
from tersor.evaluate.task import Data, Figure, Measurement, Path, Setting
from tersor.types import Metric


@dataclass(frozen=True, slots=True)
class NoData:
    """Random tokens: what is timed depends on their number alone."""

    name: str = "random tokens"


class SpeedTask:
    """Times every model in a process of its own, in turn, so that what else the machine does meets all of them.

    A round runs each model once, in the opposite order of the round before. Latency is that of one forward pass of
    `batch` random sequences of `length` tokens after three to warm up; p50 and p95 over `rounds` of them. Of causal
    language models also the time of a generated token: the mean of eight after such a prompt, with their cache.
    Loading is timed three times, out of the page cache from the second on, and the median told (the first imports the
    model's class, too); peak memory is the process's own, Python and torch included. Differences are of medians;
    p-values are of the sign test over rounds.
    """

    def read(self, data: Path | None, options: Options) -> Data:
        """Nothing: random tokens do. Raises: UsageError if a file was given."""
        if data is not None:
            raise UsageError(f"data {data}: task speed times random tokens; leave out --data")
        return NoData()

    def measure(self, folders: Sequence[Path], data: Data, setting: Setting) -> list[Measurement]:
        options = setting.options
        for folder in folders:
            if not (FilePath(folder) / "config.json").is_file():
                raise UsageError(
                    f"{folder}: no config.json here; needed: the folder of a model or an archive"
                )
        threads = torch.get_num_threads()

        def tell(share: float, what: str) -> None:
            setting.tell(share * len(folders), len(folders), what)

        with ExitStack() as stack:
            processes = [SpeedProcess(str(folder), threads) for folder in folders]
            for process in processes:
                stack.enter_context(process)
            tell(0.0, "loading")
            rounds = Rounds(processes, [str(folder) for folder in folders], tell)
            rounds.load()
            rounds.run(rounds.shapes(options.batch_sizes, options.lengths), options.rounds)
        return [
            measurement(times, weight_bytes(folder), setting.seed)
            for folder, times in zip(folders, rounds.times, strict=True)
        ]


def measurement(times: Times, n_bytes: int, seed: int) -> Measurement:
    """The figures of one model, and what they depend on."""
    figures: list[Figure] = []
    rows = []
    for shape, seconds in times.runs.items():
        found = _shape_figures(shape, np.array(seconds), seed)
        figures += found.values()
        values = {name: figure.metric.value for name, figure in found.items()}
        row = {"name": str(shape), "kind": shape.kind, "batch": shape.batch, "length": shape.length}
        rows.append({**row, **values, "rounds": len(seconds)})
    figures.append(_timed("load_seconds", "s", np.array(times.loads), 0.5, seed))
    figures.append(_exact("peak_memory", times.peak_rss_bytes / 1e6, "MB"))
    figures.append(_exact("bytes_on_disk", float(n_bytes), "B"))
    machine = {**times.facts, "cpu": cpu_name(), "cores": os.cpu_count(), "load_seconds": times.loads}
    return Measurement(tuple(figures), _report(machine), {"latency": rows, "machine": machine})


def _shape_figures(shape: Shape, seconds: np.ndarray, seed: int) -> dict[str, Figure]:
    """Median, 95th percentile and rate of one shape, by the name of their column in the details."""
    prefix = "" if shape.kind == "forward" else "decode_"
    n_tokens = shape.batch * (shape.length if shape.kind == "forward" else 1)
    milliseconds, per_second = partial(_scaled, 1e3), partial(_per_second, n_tokens)
    return {
        "p50_ms": _timed(f"{prefix}latency_p50_{shape.name}", "ms", seconds, 0.5, seed, milliseconds),
        "p95_ms": _timed(f"{prefix}latency_p95_{shape.name}", "ms", seconds, 0.95, seed, milliseconds),
        "tokens_per_second": _timed(
            f"{prefix}tokens_per_second_{shape.name}", "1/s", seconds, 0.5, seed, per_second, higher=True
        ),
    }


def _report(machine: dict[str, Any]) -> str:
    loads = ", ".join(f"{seconds:.2f}" for seconds in machine["load_seconds"])
    threads = f"{machine['threads']} thread{'s' if machine['threads'] != 1 else ''}"
    return f"{machine['cpu']}, {threads}, torch {machine['torch']}; rounds of all models in turn; loads {loads} s"


def _timed(
    name: str,
    unit: str,
    seconds: np.ndarray,
    quantile: float,
    seed: int,
    scale: partial[np.ndarray] | None = None,
    *,
    higher: bool = False,
) -> Figure:
    samples = Timed(seconds, quantile, seed, scale or partial(_scaled, 1.0))
    return Figure(Metric(name, samples.value, unit, samples.n, standard_error(samples), higher), samples)


def _exact(name: str, value: float, unit: str) -> Figure:
    return Figure(Metric(name, value, unit, 1, 0.0, higher_is_better=False), None)


def _scaled(factor: float, seconds: np.ndarray) -> np.ndarray:
    return factor * seconds


def _per_second(n_tokens: int, seconds: np.ndarray) -> np.ndarray:
    return n_tokens / seconds


def cpu_name() -> str:
    """The processor's name, as far as the system tells it."""
    try:
        with open("/proc/cpuinfo", encoding="utf-8") as file:
            names = [line.partition(":")[2].strip() for line in file if line.startswith("model name")]
    except OSError:
        names = []
    return names[0] if names else platform.processor() or platform.machine()


TASK = SpeedTask()
