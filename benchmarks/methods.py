"""Every quantizer on MiniLM at its usual setting: bytes of the whole file and error, beside gptq at the same bytes.

Use: python benchmarks/methods.py --data FOLDER      about 10 minutes
Whole model: word embeddings and all linear weights by the method, small tensors with fixed steps (.1% of the model).
Calibrated once, on WikiText validation; error: mean 1 - cos of 300 sentence embeddings, WikiText test. Files are
written and read back. "At these bytes": the error of a step-driven method, interpolated (log error, bytes) between
files whose steps are at most an octave apart.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, replace
from itertools import pairwise
from pathlib import Path
from typing import Any

from common import Table, arguments, finish, minilm, work_folder

# (method, options): the published setting first, then what else the method's page speaks of.
SETTINGS: tuple[tuple[str, dict[str, Any]], ...] = (
    ("smoothquant", {}),
    ("fixed", {"bits": 8, "granularity": "row", "scale": "absmax"}),
    ("fixed", {"bits": 4, "scale": "absmax"}),
    ("fixed", {"bits": 4}),
    ("fixed", {"bits": 4, "symmetric": False}),
    ("fixed", {"bits": 4, "error_feedback": True}),
    ("fixed", {"bits": 4, "granularity": "tensor"}),
    ("fixed", {"bits": 4, "granularity": "tensor", "error_feedback": True}),
    ("fixed", {"bits": 3, "error_feedback": True}),
    ("fixed", {"bits": 2, "error_feedback": True}),
    ("nf4", {}),
    ("nf4", {"error_feedback": True}),
    ("fp4", {}),
    ("fp4", {"scale": "power_of_two", "group_size": 32}),
    ("awq", {}),
    ("awq", {"error_feedback": True}),
    ("codebook", {"levels": 16}),
    ("codebook", {"levels": 16, "error_feedback": True}),
    ("ternary", {}),
    ("ternary", {"error_feedback": True}),
    ("sign", {}),
    ("sign", {"error_feedback": True}),
)
BY_STEP = ("rtn", "gptq", "two_sided")
OCTAVES = (-6.0, -5.0, -4.0, -3.0, -2.0, -1.0, -0.25, 0.5, 1.25, 2.0)


@dataclass(frozen=True, slots=True)
class Point:
    """One file. error: mean 1 - cos."""

    n_bytes: int
    error: float
    stderr: float


class Bench:
    """MiniLM with its statistics; makes and measures files."""

    def __init__(self, data: Path, work: Path) -> None:
        import torch
        from transformers import AutoTokenizer

        from tersor.calibrate import collect, parameter_roles, text_from_file, unused_tokens
        from tersor.evaluate.data import read_data
        from tersor.load import load_checked
        from tersor.sources.folder import scan

        torch.set_num_threads(1)
        self._model, _ = load_checked(minilm(), dtype="float32")
        self._reference, _ = load_checked(minilm(), dtype="float32")
        self._tokenizer = AutoTokenizer.from_pretrained(minilm(), local_files_only=True)
        self._weights = scan(minilm()).open_weights()
        self._roles = parameter_roles(self._model)
        self._held_out = read_data(data / "wikitext2" / "wiki.test.raw")
        self._path = work / "model.tersor.safetensors"
        text = text_from_file(data / "wikitext2" / "wiki.valid.tokens", self._tokenizer, self._model, seed=0)
        spool = work / "statistics"
        spool.mkdir()
        unused = unused_tokens(self._tokenizer)
        self._statistics = collect(self._reference, text, spool, seed=0, unused=unused)
        self.n_params = sum(spec.n_elements for spec in self._weights)

    def measure(self, method: str, options: Mapping[str, Any], delta: float = 1.0) -> Point:
        """Write the model by one method, read it back, compare."""
        from tersor.evaluate.embedding import measure

        n_bytes = self._write(method, options, delta)
        self._load()
        (metric,) = measure(self._model, self._reference, self._tokenizer, self._held_out, 0)
        return Point(n_bytes, metric.value, metric.stderr or math.nan)

    def _write(self, method: str, options: Mapping[str, Any], delta: float) -> int:
        from tersor.archive.writer import ArchiveWriter
        from tersor.layouts.base import Context
        from tersor.layouts.file_tables import FileCounts
        from tersor.planner import Plan, make_plan, quantize_model

        plan = make_plan(list(self._weights), self._roles)
        chosen = [
            replace(t, method=method, options=options) if t.is_quantized and not t.is_fixed else t
            for t in plan.tensors
        ]
        found = list(quantize_model(self._weights.read, Plan(tuple(chosen)), self._statistics, delta))
        counts = FileCounts()
        for tensor, value in found:
            counts.add(tensor.spec, value)
        self._path.unlink(missing_ok=True)
        with ArchiveWriter(self._path, Context(table_sets=counts.make("balanced"))) as writer:
            for tensor, value in found:
                writer.add(tensor.spec, value)
            writer.finish([], {}, None)
        return self._path.stat().st_size

    def _load(self) -> None:
        import torch

        from tersor.archive.reader import open_archive

        with open_archive(self._path) as archive, torch.no_grad():
            parameters = dict(self._model.named_parameters())
            for name in archive:
                if name in parameters:
                    parameters[name].copy_(torch.from_numpy(archive[name]))


def error_at(points: list[Point], n_bytes: int) -> str:
    """The error of a curve at a size, between its two nearest points; "-" outside."""
    ordered = sorted(points, key=lambda point: point.n_bytes)
    for left, right in pairwise(ordered):
        if left.n_bytes <= n_bytes <= right.n_bytes:
            share = (n_bytes - left.n_bytes) / max(right.n_bytes - left.n_bytes, 1)
            return f"{math.exp((1 - share) * math.log(left.error) + share * math.log(right.error)):.5f}"
    return "-"


def methods_table(bench: Bench) -> Table:
    heads = " | ".join(f"{name} at these bytes" for name in BY_STEP)
    columns = f"method | options | bytes | bits/param | 1 - cos | {heads}"
    table = Table("MiniLM, every quantizer; WikiText", columns)
    curves = {name: [bench.measure(name, {}, 2.0**octave) for octave in OCTAVES] for name in BY_STEP}
    for method, options in SETTINGS:
        made = bench.measure(method, options)
        said = ", ".join(f"{name}: {str(value).lower()}" for name, value in options.items()) or "defaults"
        beside = [error_at(curves[name], made.n_bytes) for name in BY_STEP]
        bits = f"{8 * made.n_bytes / bench.n_params:.3f}"
        table.add(method, said, f"{made.n_bytes:,}", bits, f"{made.error:.5f} ± {made.stderr:.5f}", *beside)
    return table


def main() -> None:
    options = arguments(__doc__, needs_data=True)
    with work_folder(options.work) as work:
        table = methods_table(Bench(options.data, work))
    finish(table)


if __name__ == "__main__":
    main()
