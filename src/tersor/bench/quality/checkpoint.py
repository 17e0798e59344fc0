"""A model's tensors as peers get them, and the model made of what they give back."""

from __future__ import annotations

import json
import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from safetensors.numpy import save_file

from tersor.calibrate.roles import ParameterRole, parameter_roles
from tersor.planner.names import match_names
from tersor.sources.folder import scan


@dataclass(frozen=True, slots=True)
class _Stored:
    """One tensor. parameter: its name in the model, None if no module has it."""

    name: str
    parameter: str | None
    kind: str
    is_transposed: bool


class PeerCheckpoint:
    """The checkpoint in `model`, written to `folder` tensor by tensor (float32 .npy), once for all peers.

    Conv1D matrices are handed over as (out, in), as converters to other formats do.
    """

    def __init__(self, model: Path, folder: Path, network: Any) -> None:
        self.model = model
        self.tensors = folder / "tensors"
        self.importance = folder / "importance"
        self.tensors.mkdir(parents=True)
        self.importance.mkdir()
        self._checkpoint = scan(model)
        self._stored: list[_Stored] = []
        roles = parameter_roles(network)
        with self._checkpoint.open_weights() as weights:
            shapes = {spec.name: spec.shape for spec in weights}
            known = match_names(shapes, {name: role.shape for name, role in roles.items()})
            for spec in weights:
                if spec.name in weights.aliases:
                    continue
                stored = _describe(spec.name, roles.get(known.get(spec.name, "")))
                values = weights.read(spec.name).astype(np.float32)
                path = self.tensors / f"{len(self._stored)}.npy"
                np.save(path, np.ascontiguousarray(values.T) if stored.is_transposed else values)
                self._stored.append(stored)
                weights.release(spec.name)
        listed = [[one.name, one.kind, one.is_transposed] for one in self._stored]
        (self.tensors / "names.json").write_text(json.dumps(listed), encoding="utf-8")

    def add_importance(self, found: dict[str, np.ndarray]) -> None:
        """Keep the mean squares of inputs, by parameter name, for the peers that use them."""
        for number, one in enumerate(self._stored):
            if one.parameter in found:
                np.save(self.importance / f"{number}.npy", found[one.parameter])

    def restored(self, tensors: Path, folder: Path) -> Path:
        """Make a Hugging Face folder of the tensors that a peer left, by number, and return it."""
        folder.mkdir()
        for entry in self._checkpoint.with_role("side"):
            target = folder / entry.relative
            target.parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(entry.path, target)
        arrays = {}
        for number, one in enumerate(self._stored):
            values = np.load(tensors / f"{number}.npy")
            arrays[one.name] = np.ascontiguousarray(values.T) if one.is_transposed else values
        save_file(arrays, folder / "model.safetensors", metadata={"format": "pt"})
        return folder


def _describe(name: str, role: ParameterRole | None) -> _Stored:
    """The kind: linear, embedding, head (the output matrix of a language model) or other."""
    if role is None:
        return _Stored(name, None, "other", False)
    kind = "other"
    if len(role.shape) == 2 and role.kind in ("linear", "conv1d"):
        kind = "head" if role.is_vocabulary else "linear"
    elif len(role.shape) == 2 and role.kind == "embedding":
        kind = "embedding"
    return _Stored(name, role.name, kind, role.is_transposed)
