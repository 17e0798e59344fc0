"""An archive as a model that can be trained: which parameter is which tensor, and how that is stored."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from torch import nn

from tersor.archive.file import ALIAS_LAYOUT
from tersor.archive.reader import open_archive
from tersor.calibrate.walk import is_small
from tersor.finetune.models import Loaded
from tersor.pipeline.stored_values import Stored, stored_value
from tersor.planner.names import match_names
from tersor.types import FLOAT_DTYPES, TensorSpec

# A head over classes is trained even where all other codes are frozen: MiniLM's for CoNLL-2003 has 3,456 weights. One
# over a vocabulary is no such head.
MAX_HEAD_ELEMENTS = 1 << 16


@dataclass(frozen=True, slots=True)
class StoredParameter:
    """One parameter of the model and the tensor of the archive that it comes from. layout: as the archive names it."""

    parameter: str
    spec: TensorSpec
    layout: str


@dataclass(frozen=True, slots=True)
class ArchiveModel:
    """A loaded archive. stored: by parameter; parameters of a new head, and tied ones but the first, are missing."""

    folder: Path
    loaded: Loaded
    stored: Mapping[str, StoredParameter]

    def value(self, parameter: str) -> Stored:
        """The tensor of a parameter as it is stored."""
        return self.values([parameter])[parameter]

    def values(self, parameters: list[str]) -> dict[str, Stored]:
        """Several of them, in one reading of the archive."""
        wanted = {self.stored[name].spec.name: name for name in parameters}
        found: dict[str, Stored] = {}
        with open_archive(self.folder) as archive:
            for file in archive.files:
                for tensor, number in file.numbers.items():
                    if tensor in wanted:
                        found[wanted[tensor]] = stored_value(file, number)
        return found

    def head(self) -> dict[str, nn.Parameter]:
        """Parameters outside of the base model that are few enough to be trained always."""
        model = self.loaded.model
        if not model.base_model_prefix:  # nothing tells a head from the rest
            return {}
        prefix = f"{model.base_model_prefix}."
        return {
            name: parameter
            for name, parameter in model.named_parameters()
            if not name.startswith(prefix) and parameter.numel() <= MAX_HEAD_ELEMENTS
        }

    def small(self) -> dict[str, nn.Parameter]:
        """Norms, biases and other small parameters, and the head."""
        found = {
            name: parameter
            for name, parameter in self.loaded.model.named_parameters()
            if name in self.stored and is_small(tuple(parameter.shape))
        }
        return {**found, **self.head()}


def open_model(folder: Path, loaded: Loaded) -> ArchiveModel:
    """Match the parameters of a model that was loaded from an archive with its tensors."""
    specs: dict[str, TensorSpec] = {}
    layouts: dict[str, str] = {}
    with open_archive(folder) as archive:
        for file in archive.files:
            for name, number in file.numbers.items():
                layout = file.layout_name(file.index.tensors[number])
                if number in file.parts or layout == ALIAS_LAYOUT or number not in file.specs:
                    continue
                if file.specs[number].dtype in FLOAT_DTYPES:
                    specs[name], layouts[name] = file.specs[number], layout
    parameters = {name: tuple(value.shape) for name, value in loaded.model.named_parameters()}
    found = match_names({name: spec.shape for name, spec in specs.items()}, parameters)
    stored = {
        parameter: StoredParameter(parameter, specs[tensor], layouts[tensor])
        for tensor, parameter in found.items()
    }
    return ArchiveModel(folder, loaded, stored)


def as_array(parameter: nn.Parameter) -> np.ndarray:
    """A copy of a parameter's values, float32."""
    return np.array(parameter.detach().float().numpy())
