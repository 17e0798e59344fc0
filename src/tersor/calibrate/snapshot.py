"""The state of a pass on disk, so that an interrupted calibration goes on where it was.

Sums are restored to the last bit: an interrupted run ends with the same statistics as one that was not.
"""

from __future__ import annotations

import shutil
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch

from tersor.calibrate.cache_entry import fingerprint, read_checked_json, write_checked_json
from tersor.calibrate.head import HeadSums, LanguageModel
from tersor.calibrate.matrices import MatrixSums
from tersor.calibrate.objective import Objective
from tersor.calibrate.passes import Pass
from tersor.calibrate.sums import LinearSums, LookupSums
from tersor.errors import CorruptError
from tersor.npy import read_npz

STATE = "state.json"
_LINEAR = ("magnitudes", "row_energy", "tokens_of_part")
_LOOKUP = ("row_energy", "row_count")
_HEAD = ("hessian", "variance", "probability")


@dataclass(frozen=True, slots=True)
class Position:
    """n_passes done, and n_batches of the next."""

    n_passes: int
    n_batches: int


class Snapshots:
    """Two folders in `spool` that take turns; every byte is checked, and a damaged one is as good as none."""

    def __init__(self, spool: Path) -> None:
        self._spool = spool
        self._folder = spool / "snapshot"

    def save(
        self,
        position: Position,
        done: Pass,
        objective: Objective,
        matrices: MatrixSums,
        middles: Iterable[Path] = (),
    ) -> None:
        """Replace the snapshot. All jobs of the pass are finished; it reads the files `middles` of the spool."""
        fresh = self._folder.with_suffix(".new")
        shutil.rmtree(fresh, ignore_errors=True)
        (fresh / "matrices").mkdir(parents=True)
        matrices.save(fresh / "matrices")
        np.savez(fresh / "vectors.npz", **_vectors(done, objective))  # type: ignore[arg-type]
        head = _head_of(objective)
        state = {
            "position": [position.n_passes, position.n_batches],
            "linear": {
                name: [sums.energy, sums.n_tokens, sums.plain_scale] for name, sums in done.linear.items()
            },
            "lookups": list(done.lookups),
            "n_outputs": done.n_outputs,
            "n_predictions": 0 if head is None else head.n_predictions,
            "files": _fingerprints(fresh),
            "middles": {path.name: fingerprint(path) for path in middles},
        }
        write_checked_json(fresh / STATE, state)
        shutil.rmtree(self._folder, ignore_errors=True)
        fresh.rename(self._folder)

    def position(self) -> Position | None:
        """Where the snapshot was taken; None if there is none, or a damaged one, which is deleted."""
        try:
            state = read_checked_json(self._folder / STATE)
            middles = {name: fingerprint(self._spool / name) for name in state["middles"]}
            if (_fingerprints(self._folder), middles) == (state["files"], state["middles"]):
                return Position(*map(int, state["position"]))
        except (OSError, ValueError, KeyError, TypeError, CorruptError):
            pass
        self.clear()
        return None

    def restore(self, done: Pass, objective: Objective, matrices: MatrixSums) -> None:
        """Put the sums of the snapshot, which `position` checked, into a new pass."""
        state = read_checked_json(self._folder / STATE)
        matrices.restore(self._folder / "matrices")
        done.n_outputs = int(state["n_outputs"])
        vectors = read_npz(self._folder / "vectors.npz")
        found = {name: torch.from_numpy(vector) for name, vector in vectors.items()}
        for name, (energy, n_tokens, plain_scale) in state["linear"].items():
            linear = done.linear_sums(name)
            linear.energy, linear.n_tokens, linear.plain_scale = energy, n_tokens, plain_scale
            _set(linear, _LINEAR, f"linear/{name}", found)
        for name in state["lookups"]:
            _set(done.lookup_sums(name), _LOOKUP, f"lookup/{name}", found)
        if isinstance(objective, LanguageModel) and "head/hessian" in found:
            objective.sums = HeadSums(
                **{part: found[f"head/{part}"] for part in _HEAD}, n_predictions=state["n_predictions"]
            )

    def clear(self) -> None:
        shutil.rmtree(self._folder, ignore_errors=True)
        shutil.rmtree(self._folder.with_suffix(".new"), ignore_errors=True)


def _fingerprints(folder: Path) -> dict[str, list[int]]:
    """Of all files of a snapshot but the one that these are written to."""
    files = (path for path in folder.rglob("*") if path.is_file() and path != folder / STATE)
    return {path.relative_to(folder).as_posix(): fingerprint(path) for path in files}


def _vectors(done: Pass, objective: Objective) -> dict[str, np.ndarray]:
    found: dict[str, np.ndarray] = {}
    for name, linear in done.linear.items():
        found |= _parts(linear, _LINEAR, f"linear/{name}")
    for name, lookup in done.lookups.items():
        found |= _parts(lookup, _LOOKUP, f"lookup/{name}")
    head = _head_of(objective)
    return found if head is None else found | _parts(head, _HEAD, "head")


def _parts(sums: object, names: tuple[str, ...], prefix: str) -> dict[str, np.ndarray]:
    values = {f"{prefix}/{name}": getattr(sums, name) for name in names}
    return {key: value.numpy() for key, value in values.items() if value is not None}


def _set(
    sums: LinearSums | LookupSums, names: tuple[str, ...], prefix: str, found: Mapping[str, Any]
) -> None:
    for name in names:
        if f"{prefix}/{name}" in found:
            setattr(sums, name, found[f"{prefix}/{name}"])


def _head_of(objective: Objective) -> HeadSums | None:
    return objective.sums if isinstance(objective, LanguageModel) else None
