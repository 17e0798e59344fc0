"""`compress`: a checkpoint, calibrated, quantized to a size in file bytes, entropy coded and written as an archive."""

from __future__ import annotations

import gc
import json
import platform
import shutil
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from importlib.metadata import version
from os import PathLike
from pathlib import Path
from typing import Any

import numpy as np
from blake3 import blake3

from tersor.archive.folder import CONFIG_NAME, add_side_file, archive_name
from tersor.archive.index import ArchiveRecord, FolderRecord, SideRecord
from tersor.archive.inspect import inspect
from tersor.archive.reader import open_archive
from tersor.archive.writer import ArchiveWriter, producer_name
from tersor.errors import BudgetError, UsageError
from tersor.layouts.base import Alias, Context, Dense
from tersor.layouts.file_tables import FileCounts
from tersor.layouts.grid import Grid
from tersor.output import OutputFolder
from tersor.planner.budget import solve_step
from tersor.planner.execute import quantize_model
from tersor.planner.plan import Plan, TensorPlan, check_budget, make_plan, untouched
from tersor.planner.rate import estimate_bytes
from tersor.planner.spool import GridSpool
from tersor.process import peak_rss_bytes
from tersor.quant import QUANTIZERS
from tersor.recipe import DEFAULT_METHOD, Recipe, resolve_recipe
from tersor.sources.folder import Checkpoint, scan
from tersor.sources.weights import Weights

Progress = Callable[[float, float, str], None]
SHARD_INDEX = "model.tersor.safetensors.index.json"
_WORK = ".work"
LEVEL = "balanced"  # of the tensors that are kept without loss
_ROWS_AT_ONCE = 4096
_MIN_TIED_BYTES = 1 << 16


def compress(
    source: str | PathLike[str],
    output: str | PathLike[str],
    *,
    size: str | None = None,
    recipe: Recipe | Mapping[str, object] | str | Path | None = None,
    calibration: str | PathLike[str] | None = None,
    seed: int | None = None,
    threads: int = 1,
    force: bool = False,
    dry_run: bool = False,
    progress: Progress | None = None,
) -> dict[str, Any]:
    """Write an archive of at most `size` bytes (and at least 99% of it) that `AutoModel.from_pretrained` opens.

    source: folder of a Hugging Face model (config.json, tokenizer, safetensors or .bin weights).
    size: all bytes of the archive's weight files: "0.15x" of the original's, "12MB", "3.2bpw".
    recipe: size, method, calibration and seed in one; arguments given beside it win.
    calibration: UTF-8 text like what the model will see; None: the built-in text, which is worse.
    threads: change speed only. force: replace an archive at `output`. dry_run: return the plan, write nothing.
    progress: called with (done, total, what).
    Returns the JSON of docs/cli.md; a tensor's `error` is its relative squared error, measured on the finished file.
    Guarantee: the same source, recipe, versions and machine give the same bytes.
    Memory: the loaded model, one tensor, and the Hessians of a group of layers.
    Raises: UsageError, BudgetError (names the nearest size), NonFiniteError, OutputError, OutputExistsError.
    """
    started = time.monotonic()
    chosen = resolve_recipe(recipe, size=size, calibration=_as_path(calibration), seed=seed)
    QUANTIZERS.get(chosen.method)
    if threads < 1:
        raise UsageError(f"threads={threads}: needs 1 or more")
    checkpoint = scan(Path(source))
    if checkpoint.find(CONFIG_NAME) is None:
        raise UsageError(
            f"{source}: no config.json here; compress needs the folder of a Hugging Face model. "
            "Any other checkpoint can be stored without loss: tersor pack"
        )
    target = OutputFolder(
        Path(output), force=force, inputs=[Path(source)]
    )  # refuses at once what could not be written later
    with checkpoint.open_weights() as weights:
        report = progress or (lambda done, total, what: None)
        job = _Compression(checkpoint, weights, chosen, threads, report)
        job.make_plan()
        if dry_run:
            return job.plan_json(str(source), str(output), time.monotonic() - started)
        with target as folder:
            job.run(folder)
            described = inspect(folder)
            errors = job.errors(folder)
        return {
            "input": job.input_json(str(source)),
            "output": job.output_json(str(output), described["output"]["n_bytes"]),
            "tensors": [{**row, "error": errors[row["name"]]} for row in described["tensors"]],
            "seconds": time.monotonic() - started,
            "peak_rss_bytes": peak_rss_bytes(),
            "recipe": chosen.to_dict(),
            "version": producer_name(),
        }


@dataclass(slots=True)
class _Attempt:
    """The archive files of one global step."""

    folder: Path
    delta: float
    n_bytes: int = 0


class _Compression:
    """One run of `compress`."""

    def __init__(
        self, checkpoint: Checkpoint, weights: Weights, recipe: Recipe, threads: int, progress: Progress
    ) -> None:
        self._checkpoint = checkpoint
        self._weights = weights
        self._recipe = recipe
        self._threads = threads
        self._progress = progress
        self._n_measured = 0
        self._best: _Attempt | None = None
        self.n_input_bytes = sum(entry.n_bytes for entry in weights.files)

    def make_plan(self) -> None:
        """Load the model and decide every tensor's method; refuses what cannot work before the long part."""
        from tersor.calibrate import parameter_roles
        from tersor.load import load_checked

        self._progress(0, 1, "loading the model")
        self._model, _ = load_checked(self._checkpoint.root, dtype="float32")
        ties = self._weights.aliases | _equal_tensors(self._weights)
        plan = make_plan(list(self._weights), parameter_roles(self._model), aliases=ties)
        self._plan = _with_method(plan, self._recipe.method)
        self.n_params = sum(t.spec.n_elements for t in self._plan.tensors if t.method != "alias")
        self._target = self._recipe.budget.n_bytes(self.n_input_bytes, self.n_params)
        check_budget(self._plan, self._target)
        self._names = _archive_names(self._weights)

    def run(self, folder: Path) -> None:
        """Calibrate, find the step, and leave the finished archive in `folder`."""
        self._side_files = list(self._add_side_files(folder))
        work = folder / _WORK
        work.mkdir()
        self._calibrate(work / "statistics")
        self._spool = GridSpool(work / "grids")

        def estimate(delta: float) -> float:
            return estimate_bytes(
                self._weights.read, self._plan, self._statistics, delta, threads=self._threads
            )

        self._progress(0, 1, "choosing the step")
        try:
            solution = solve_step(lambda delta: self._measure(work, delta), self._target, estimate=estimate)
        except BudgetError as exc:
            kept = untouched(self._plan)
            raise BudgetError(f"{exc}; {kept}" if kept else str(exc)) from exc
        best = self._best
        assert best is not None and best.delta == solution.delta, "the best attempt that fits is kept"
        for name in self._names.values():
            (best.folder / name).replace(folder / name)
        shutil.rmtree(work)

    def _add_side_files(self, folder: Path) -> Iterator[SideRecord]:
        """Copy what loaders look for beside the weights; config.json names the hook, the shard index our shards."""
        outputs = {*self._names.values(), *([SHARD_INDEX] if len(self._names) > 1 else [])}
        for entry in self._checkpoint.with_role("side"):
            is_config = entry.relative == CONFIG_NAME
            record = add_side_file(entry.path, entry.relative, folder, adapt=is_config, outputs=outputs)
            if record is None:
                raise UsageError(f"{entry.path}: is no JSON object; compress needs the model's configuration")
            yield record
        if len(self._names) > 1:
            shards = {name: self._names[relative] for name, relative in self._weights.file_of.items()}
            text = json.dumps({"metadata": {}, "weight_map": shards}, indent=2) + "\n"
            (folder / SHARD_INDEX).write_text(text, encoding="utf-8")

    def _calibrate(self, spool: Path) -> None:
        from transformers import AutoTokenizer

        from tersor.calibrate import collect, default_text, text_from_file, unused_tokens

        try:
            tokenizer = AutoTokenizer.from_pretrained(self._checkpoint.root, local_files_only=True)
        except (OSError, ValueError) as exc:
            raise UsageError(
                f"{self._checkpoint.root}: calibration needs the model's tokenizer: {exc}"
            ) from exc
        seed = self._recipe.seed
        if self._recipe.calibration is None:
            text = default_text(tokenizer, self._model, seed=seed)
        else:
            text = text_from_file(Path(self._recipe.calibration), tokenizer, self._model, seed=seed)
        spool.mkdir()
        self._statistics = collect(
            self._model,
            text,
            spool,
            seed=seed,
            unused=unused_tokens(tokenizer),
            progress=lambda stage, done, total: self._progress(done, total, f"calibrating: {stage}"),
        )
        del self._model  # from here on the checkpoint's own bytes are read, tensor by tensor
        gc.collect()  # a model is full of cycles: without this its weights stay in memory to the end

    def _measure(self, work: Path, delta: float) -> int:
        """Quantize and write everything at a global step; return the bytes of the archive files."""
        self._n_measured += 1
        attempt = _Attempt(work / f"archive-{self._n_measured}", delta)
        attempt.folder.mkdir()
        n_tensors = len(self._plan.tensors)

        def report(n_done: int) -> None:
            self._progress(n_done, 2 * n_tensors, f"quantizing and coding, trial {self._n_measured}")

        counts = self._quantize(delta, report)
        records: list[ArchiveRecord] = []
        for n_files, (relative, name) in enumerate(reversed(self._names.items()), 1):
            is_primary = n_files == len(self._names)
            folder = FolderRecord(False, records, self._side_files, [], False) if is_primary else None
            crc = self._write_file(attempt.folder / name, relative, counts[relative], delta, folder)
            records.append(ArchiveRecord(name, crc))
            report(n_tensors + n_tensors * n_files // len(self._names))
        attempt.n_bytes = sum(path.stat().st_size for path in attempt.folder.iterdir())
        self._keep_better(attempt)
        return attempt.n_bytes

    def _quantize(self, delta: float, report: Callable[[int], None]) -> dict[str, FileCounts]:
        """Spool all grids at a global step; return the histograms for the tables of each file."""
        counts = {relative: FileCounts() for relative in self._names}
        quantized = quantize_model(
            self._weights.read, self._plan, self._statistics, delta, threads=self._threads
        )
        for number, (tensor, value) in enumerate(quantized):
            counts[self._weights.file_of[tensor.spec.name]].add(tensor.spec, value)
            if isinstance(value, Grid):
                self._spool.put(number, value)
            self._weights.release(tensor.spec.name)
            report(number + 1)
        return counts

    def _keep_better(self, attempt: _Attempt) -> None:
        """Keep the larger of the attempts that fit; delete the other."""
        kept = self._best
        if attempt.n_bytes <= self._target and (kept is None or attempt.n_bytes > kept.n_bytes):
            self._best, attempt_to_drop = attempt, kept
        else:
            attempt_to_drop = attempt
        if attempt_to_drop is not None:
            shutil.rmtree(attempt_to_drop.folder)

    def _write_file(
        self, path: Path, relative: str, counts: FileCounts, delta: float, folder: FolderRecord | None
    ) -> int:
        context = Context(table_sets=counts.make(LEVEL), level=LEVEL)
        with ArchiveWriter(path, context, threads=self._threads) as writer:
            for number, tensor in enumerate(self._plan.tensors):
                if self._weights.file_of[tensor.spec.name] == relative:
                    writer.add(tensor.spec, self._value(number, tensor))
                    self._weights.release(tensor.spec.name)
            return writer.finish([], self._provenance(delta), folder)

    def _value(self, number: int, tensor: TensorPlan) -> Dense | Grid | Alias:
        if tensor.method == "alias":
            return Alias(str(tensor.target))
        if tensor.method == "keep":
            return Dense(np.ascontiguousarray(self._weights.read(tensor.spec.name)))
        return self._spool.get(number)

    def _provenance(self, delta: float) -> dict[str, Any]:
        recipe = self._recipe.to_dict()
        if (
            recipe["calibration"] is not None
        ):  # a path of this machine says nothing; the hash of the text does
            recipe["calibration"] = Path(str(recipe["calibration"])).name
        return {
            "tool": producer_name(),
            "command": "compress",
            "recipe": recipe,
            "delta": delta,
            "calibration": dict(self._statistics.provenance),
            "libraries": {name: version(name) for name in ("numpy", "torch", "transformers")},
            "machine": f"{platform.machine()} {platform.system()}",
        }

    def errors(self, folder: Path) -> dict[str, float]:
        """Relative squared error of every tensor of the finished archive; 0 where the original is all zero."""
        with open_archive(folder) as archive:
            errors = {}
            for n_done, tensor in enumerate(self._plan.tensors):
                name = tensor.spec.name
                errors[name] = (
                    0.0
                    if tensor.method == "keep"
                    else _relative_error(self._weights.read(name), archive[name])
                )
                self._weights.release(name)
                self._progress(n_done + 1, len(self._plan.tensors), "measuring the error")
            return errors

    def input_json(self, path: str) -> dict[str, Any]:
        return {"path": path, "n_bytes": self.n_input_bytes, "n_params": self.n_params}

    def output_json(self, path: str, n_bytes: int) -> dict[str, Any]:
        return {
            "path": path,
            "n_bytes": n_bytes,
            "ratio": n_bytes / self.n_input_bytes,
            "bits_per_weight": 8 * n_bytes / self.n_params,
        }

    def plan_json(self, source: str, output: str, seconds: float) -> dict[str, Any]:
        """The result of a dry run: the budget in bytes, and what would happen to each tensor and why."""
        return {
            "input": self.input_json(source),
            "output": self.output_json(output, self._target),
            "tensors": [
                {
                    "name": t.spec.name,
                    "shape": list(t.spec.shape),
                    "dtype": t.spec.dtype,
                    "layout": layout_name(t),
                    "codec": "rans" if t.is_quantized else "auto",
                    "n_bytes": None,
                    "bits_per_weight": None,
                    "error": None,
                    "method": t.method,
                    "reason": t.reason,
                }
                for t in self._plan.tensors
            ],
            "seconds": seconds,
            "peak_rss_bytes": peak_rss_bytes(),
            "recipe": self._recipe.to_dict(),
            "version": producer_name(),
        }


def layout_name(tensor: TensorPlan) -> str:
    """The layout that a tensor of a plan will be stored in."""
    return {"keep": "dense/1", "alias": "alias/1"}.get(tensor.method, "grid/1")


def _as_path(path: str | PathLike[str] | None) -> Path | None:
    return None if path is None else Path(path)


def _with_method(plan: Plan, method: str) -> Plan:
    """The plan with the recipe's quantizer in place of the default one."""
    return Plan(tuple(replace(t, method=method) if t.method == DEFAULT_METHOD else t for t in plan.tensors))


def _archive_names(weights: Weights) -> dict[str, str]:
    """Relative path of each weight file -> its archive file. transformers finds .bin weights under our names, too."""
    names = {}
    for entry in weights.files:
        name = entry.relative.rpartition("/")[2]
        stem = name.removesuffix(".bin").removesuffix(".pt").removesuffix(".safetensors")
        stem = stem.replace("pytorch_model", "model", 1)
        names[entry.relative] = archive_name(f"{stem}.safetensors")
    return names


def _equal_tensors(weights: Weights) -> dict[str, str]:
    """Tied tensors that the checkpoint holds twice: name -> earlier name with the same dtype, shape and bytes."""
    first: dict[tuple[str, tuple[int, ...], bytes], str] = {}
    by_shape: dict[tuple[str, tuple[int, ...]], list[str]] = {}
    for spec in weights:
        if spec.n_bytes >= _MIN_TIED_BYTES and spec.name not in weights.aliases:
            by_shape.setdefault((spec.dtype, spec.shape), []).append(spec.name)
    ties = {}
    for (dtype, shape), names in by_shape.items():
        for name in names if len(names) > 1 else ():
            digest = blake3(weights.raw(name)).digest()
            weights.release(name)
            earlier = first.setdefault((dtype, shape, digest), name)
            same_file = weights.file_of[earlier] == weights.file_of[name]
            if earlier != name and same_file and weights.read(name).reshape(-1)[:1].any():
                ties[name] = earlier
    return ties


def _relative_error(original: np.ndarray, stored: np.ndarray) -> float:
    """||stored - original||^2 / ||original||^2, a few rows at a time."""
    columns = original.shape[-1] if original.ndim else 1
    rows = original.reshape(-1, columns), stored.reshape(-1, columns)
    error = power = 0.0
    for first in range(0, len(rows[0]), _ROWS_AT_ONCE):
        before, after = (matrix[first : first + _ROWS_AT_ONCE].astype(np.float32) for matrix in rows)
        error += float(np.square(after - before, dtype=np.float64).sum())
        power += float(np.square(before, dtype=np.float64).sum())
    return error / power if power else 0.0
