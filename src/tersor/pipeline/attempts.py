"""Archives tried out: everything quantized and written at one setting."""

from __future__ import annotations

import platform
import shutil
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np

from tersor.archive.index import ArchiveRecord, FolderRecord, SideRecord
from tersor.archive.writer import ArchiveWriter, producer_name
from tersor.calibrate import Statistics
from tersor.layouts.base import Alias, Context, Dense
from tersor.layouts.file_tables import FileCounts
from tersor.pipeline.job import Job
from tersor.planner.execute import Rounding, Value, quantize_model, store_tensor
from tersor.planner.plan import Plan, TensorPlan
from tersor.planner.spool import Spooled, ValueSpool
from tersor.quant import CodeLengths

# Facts that the archive tells about how it was made.
_PROVENANCE = ("reduce", "recover", "drift", "tune")
_UNSPOOLED = ("keep", "alias")  # read again when they are written


@dataclass(slots=True)
class Attempt:
    """The archive files of one global step (`delta`) and one plan, in a folder of their own.

    facts: what else is known about it, for the provenance and the result.
    """

    folder: Path
    delta: float
    plan: Plan
    n_bytes: int = 0
    facts: dict[str, Any] = field(default_factory=dict)


class Attempts:
    """Makes attempts; keeps one, the best so far.

    code_lengths: what codes cost, from estimates at a similar step; None: a built-in prior.
    curves: what the settings of each tensor would cost, where the search tried them; plain values, for the history.
    """

    def __init__(
        self,
        job: Job,
        statistics: Statistics,
        side_files: list[SideRecord],
        work: Path,
        facts: Mapping[str, Any] | None = None,
    ) -> None:
        """facts: that all attempts share."""
        self._facts = dict(facts or {})
        self._job = job
        self._statistics = statistics
        self._side_files = side_files
        self._work = work
        self._spool = ValueSpool(work / "values")
        self._n_made = 0
        self.best: Attempt | None = None
        self.code_lengths: CodeLengths | None = None
        self.curves: dict[str, list[dict[str, Any]]] = {}

    def make(self, delta: float, plan: Plan | None = None, facts: Mapping[str, Any] | None = None) -> Attempt:
        """Quantize and write everything at a global step. plan: of the job's tensors; None: the job's own.

        The caller decides by `keep` or `drop` what becomes of it.
        """
        attempt = self._begin(delta, plan, facts)
        self._finish(attempt, self._quantize(attempt))
        return attempt

    def make_from(
        self,
        delta: float,
        values: Iterable[tuple[int, Spooled]],
        plan: Plan | None = None,
        facts: Mapping[str, Any] | None = None,
    ) -> Attempt:
        """As `make`, of values that were made elsewhere: (number in the plan, value) of every quantized tensor."""
        attempt = self._begin(delta, plan, facts)
        for number, value in values:
            self._spool.put(number, value)
        self._spool_floats(attempt)
        self._finish(attempt, self._counts(attempt))
        return attempt

    def keep(self, attempt: Attempt) -> None:
        """Take an attempt for the best; the one before is deleted."""
        if self.best is not None and self.best is not attempt:
            self.drop(self.best)
        self.best = attempt

    def drop(self, attempt: Attempt) -> None:
        """Delete an attempt's files."""
        shutil.rmtree(attempt.folder)

    def _begin(self, delta: float, plan: Plan | None, facts: Mapping[str, Any] | None) -> Attempt:
        self._n_made += 1
        folder = self._work / f"archive-{self._n_made}"
        attempt = Attempt(folder, delta, plan or self._job.plan, facts=self._facts | dict(facts or {}))
        attempt.folder.mkdir()
        return attempt

    def _finish(self, attempt: Attempt, counts: dict[str, FileCounts]) -> None:
        self._write(attempt, counts)
        attempt.n_bytes = sum(path.stat().st_size for path in attempt.folder.iterdir())

    def _counts(self, attempt: Attempt) -> dict[str, FileCounts]:
        """The histograms for the tables of each file, of what is in the spool."""
        counts = {relative: FileCounts(self._job.recipe.level) for relative in self._job.names}
        for number, tensor in enumerate(attempt.plan.tensors):
            file = self._job.weights.file_of[tensor.spec.name]
            counts[file].add(tensor.stored_spec, self._value(number, tensor))
            self._job.weights.release(tensor.spec.name)
        return counts

    def _quantize(self, attempt: Attempt) -> dict[str, FileCounts]:
        """Spool all grids at a global step; return the histograms for the tables of each file."""
        job = self._job
        counts = {relative: FileCounts(job.recipe.level) for relative in job.names}
        quantized = quantize_model(
            job.read,
            attempt.plan,
            self._statistics,
            attempt.delta,
            threads=job.threads,
            code_lengths=self.code_lengths,
        )
        for number, (tensor, value) in enumerate(quantized):
            counts[job.weights.file_of[tensor.spec.name]].add(tensor.stored_spec, value)
            if tensor.method not in _UNSPOOLED:
                assert not isinstance(value, Alias)
                self._spool.put(number, value)
            job.weights.release(tensor.spec.name)
            self._report(number + 1)
        return counts

    def _spool_floats(self, attempt: Attempt) -> None:
        """Spool what is changed but not quantized."""
        for number, tensor in enumerate(attempt.plan.tensors):
            if tensor.method == "float":
                value = store_tensor(self._job.read, tensor, self._statistics, Rounding(attempt.delta))
                assert not isinstance(value, Alias)
                self._spool.put(number, value)

    def _write(self, attempt: Attempt, counts: dict[str, FileCounts]) -> None:
        """Write the spooled grids and all other tensors as archive files, the first one last: it names the others."""
        job, n_tensors = self._job, len(attempt.plan.tensors)
        records: list[ArchiveRecord] = []
        for n_files, (relative, name) in enumerate(reversed(job.names.items()), 1):
            is_primary = n_files == len(job.names)
            folder = FolderRecord(False, records, self._side_files, [], False) if is_primary else None
            crc = self._write_file(attempt, attempt.folder / name, relative, counts[relative], folder)
            records.append(ArchiveRecord(name, crc))
            self._report(n_tensors + n_tensors * n_files // len(job.names))

    def _write_file(
        self, attempt: Attempt, path: Path, relative: str, counts: FileCounts, folder: FolderRecord | None
    ) -> int:
        weights = self._job.weights
        level = self._job.recipe.level
        context = Context(table_sets=counts.make(level), level=level, float_models=counts.float_models)
        with ArchiveWriter(path, context, threads=self._job.threads) as writer:
            for number, tensor in enumerate(attempt.plan.tensors):
                if weights.file_of[tensor.spec.name] == relative:
                    writer.add(tensor.stored_spec, self._value(number, tensor))
                    weights.release(tensor.spec.name)
            return writer.finish([], self._provenance(attempt), folder)

    def _value(self, number: int, tensor: TensorPlan) -> Value:
        if tensor.method == "alias":
            return Alias(str(tensor.target))
        if tensor.method == "keep":
            return Dense(np.ascontiguousarray(self._job.read(tensor.spec.name)))
        return self._spool.get(number)

    def _report(self, n_done: int) -> None:
        what = f"quantizing and coding, trial {self._n_made}"
        self._job.progress(n_done, 2 * len(self._job.plan.tensors), what)

    def _provenance(self, attempt: Attempt) -> dict[str, Any]:
        return {
            "tool": producer_name(),
            "command": "compress",
            "recipe": plain_recipe(self._job.recipe.to_dict()),
            "delta": attempt.delta,
            "calibration": dict(self._statistics.provenance),
            "libraries": {name: version(name) for name in ("numpy", "torch", "transformers")},
            "machine": f"{platform.machine()} {platform.system()}",
            **{name: attempt.facts[name] for name in _PROVENANCE if name in attempt.facts},
        }


def plain_recipe(recipe: Mapping[str, Any]) -> dict[str, Any]:
    """A recipe without the folder of the text: a path of this machine says nothing; the hash of the text does."""
    text = recipe["calibration"]
    return {**recipe, "calibration": text if text is None else Path(str(text)).name}
