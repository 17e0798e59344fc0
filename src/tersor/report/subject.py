"""One model of a report: what its archive says of itself, and the history beside it."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from os import PathLike
from pathlib import Path
from typing import Any

from tersor.archive import open_archive
from tersor.archive.inspect import inspect
from tersor.archive.urls import is_url
from tersor.errors import UsageError
from tersor.evaluate.size import weight_bytes
from tersor.report.histograms import CodeHistogram, code_histograms
from tersor.report.names import labels_of
from tersor.report.untrusted import mapping, number, objects, text


@dataclass(slots=True)
class Subject:
    """One archive. label: how the page calls it; facts: what `inspect` says; notes: what the page cannot show of it.

    histograms: of its codes, by role. errors: tensor -> relative squared error, where its history tells it.
    """

    label: str
    path: str
    facts: Mapping[str, Any]
    history: list[dict[str, Any]]
    histograms: list[CodeHistogram]
    errors: dict[str, float]
    notes: list[str] = field(default_factory=list)

    @property
    def n_bytes(self) -> int:
        return int(self.facts["output"]["n_bytes"])

    @property
    def bits_per_weight(self) -> float | None:
        return number(self.facts["output"]["bits_per_weight"])

    @property
    def tensors(self) -> Sequence[Mapping[str, Any]]:
        found: Sequence[Mapping[str, Any]] = self.facts["tensors"]
        return found

    @property
    def provenance(self) -> Mapping[str, Any]:
        return mapping(self.facts["provenance"])

    @property
    def command(self) -> str:
        """What made it: "tersor compress", "tersor finetune", or the program's name and version."""
        if self.entries("finetune"):
            return "tersor finetune"
        command = text(self.provenance.get("command"))
        return f"tersor {command}" if command else text(self.facts["version"], "?")

    def entries(self, kind: str) -> list[dict[str, Any]]:
        """The history's entries of one kind, in order."""
        return [entry for entry in self.history if entry["kind"] == kind]


@dataclass(frozen=True, slots=True)
class Original:
    """The model that all others were made from. n_params: None if no archive tells."""

    label: str
    path: str
    n_bytes: int
    n_params: int | None


def read_original(path: str | PathLike[str], subjects: Sequence[Subject]) -> Original:
    """Raises: UsageError if there are no weight files."""
    label = labels_of([*(subject.path for subject in subjects), str(path)])[-1]
    n_params = max((int(subject.facts["input"]["n_params"]) for subject in subjects), default=0)
    return Original(label, str(path), weight_bytes(path), n_params or None)


def read_subjects(paths: Sequence[str | PathLike[str]], n_histograms: int) -> list[Subject]:
    """Read every archive. n_histograms: of each, at most.

    Raises: UsageError (nothing there), CorruptError (a damaged archive or history), NewerFormatError.
    """
    names = [str(path) for path in paths]
    labels = labels_of(names)
    return [_read(path, label, n_histograms) for path, label in zip(names, labels, strict=True)]


def _read(path: str, label: str, n_histograms: int) -> Subject:
    facts = inspect(path)
    history: list[dict[str, Any]] = facts["history"]
    histograms: list[CodeHistogram] = []
    notes = ["It lies behind a URL: its history and its codes were not fetched."] if is_url(path) else []
    if not notes:
        with open_archive(path) as archive:
            histograms = code_histograms(archive, facts["tensors"], n_histograms)
    return Subject(label, path, facts, history, histograms, errors_of(history), notes)


def errors_of(history: Sequence[Mapping[str, Any]]) -> dict[str, float]:
    """Tensor -> relative squared error, as the last compression measured it."""
    errors = {}
    for entry in history:
        for row in objects(entry.get("tensors")) if entry["kind"] == "compress" else ():
            error, name = number(row.get("error")), text(row.get("name"))
            if error is not None and error >= 0 and name:
                errors[name] = error
    return errors


def read_evaluation_file(path: str | PathLike[str]) -> dict[str, Any]:
    """What `tersor evaluate --json` printed. Raises: UsageError if the file holds something else."""
    file = Path(path)
    try:
        value = json.loads(file.read_bytes())
    except FileNotFoundError as exc:
        raise UsageError(f"{file}: no such file; needed: what `tersor evaluate ... --json` printed") from exc
    except (ValueError, RecursionError) as exc:
        raise UsageError(
            f"{file}: no JSON ({exc}); needed: what `tersor evaluate ... --json` printed"
        ) from exc
    if not isinstance(mapping(value).get("models"), list):
        raise UsageError(
            f"{file}: JSON without a list of models; needed: what `tersor evaluate ... --json` printed"
        )
    found: dict[str, Any] = value
    return found
