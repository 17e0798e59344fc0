"""What each parameter of a model does: the part of calibration that knows torch's module types."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal

from torch import nn

Kind = Literal["linear", "conv1d", "embedding", "experts", "other"]


@dataclass(frozen=True, slots=True)
class ParameterRole:
    """A parameter and the modules that use it.

    name: as in `model.named_parameters()`. kind: of its first use by a module; a tied embedding is an "embedding";
        "experts" are matrices (out, in) of a mixture of experts, stacked: (experts, out, in).
    modules: names of the linear and embedding modules that use it as their weight (tied ones: several).
    is_vocabulary: the rows are tokens.
    """

    name: str
    kind: Kind
    shape: tuple[int, ...]
    modules: tuple[str, ...] = ()
    is_vocabulary: bool = False

    @property
    def is_transposed(self) -> bool:
        """The parameter is (in, out): its matrix for quantizers is the transpose."""
        return self.kind == "conv1d"

    @property
    def n_inputs(self) -> int:
        """Columns of the matrix: the input width of a linear layer, the width of an embedding."""
        if not self.shape:
            return 1
        return self.shape[-2] if self.is_transposed else self.shape[-1]

    @property
    def n_weights(self) -> int:
        return math.prod(self.shape)

    @property
    def n_outputs(self) -> int:
        """Rows of the matrix, or of one matrix of a stack."""
        if len(self.shape) < 2:
            return 1
        return self.shape[-1] if self.is_transposed else self.shape[-2]


def module_kind(module: nn.Module) -> Kind:
    """linear, conv1d (GPT-2's, stored (in, out)), embedding, or other."""
    if isinstance(module, nn.Linear):
        return "linear"
    if isinstance(module, nn.Embedding):
        return "embedding"
    # By name, because transformers need not be imported to calibrate a plain torch model.
    if type(module).__name__ == "Conv1D" and type(module).__module__ == "transformers.pytorch_utils":
        return "conv1d"
    return "other"


def parameter_roles(model: nn.Module) -> dict[str, ParameterRole]:
    """A role for every parameter, tied ones once, in the model's order."""
    names = {id(parameter): name for name, parameter in model.named_parameters()}
    users: dict[str, list[tuple[str, Kind]]] = {name: [] for name in names.values()}
    for module_name, module in model.named_modules():
        kind = module_kind(module)
        if kind != "other":
            users[names[id(module.weight)]].append((module_name, kind))
        for parameter in _stacked_experts(module):
            users[names[id(parameter)]].append((module_name, "experts"))
    vocabulary = vocabulary_size(model)
    return {
        name: _role(name, tuple(parameter.shape), users[name], vocabulary)
        for name, parameter in model.named_parameters()
    }


def _stacked_experts(module: nn.Module) -> list[nn.Parameter]:
    """3-D parameters of a module that transformers runs as experts, if they are stored (experts, out, in)."""
    # The decorator `use_experts_implementation` of transformers sets these attributes.
    if getattr(module, "is_transposed", None) is not False or not hasattr(module, "has_gate"):
        return []
    return [parameter for parameter in module.parameters(recurse=False) if parameter.ndim == 3]


def vocabulary_size(model: nn.Module) -> int:
    """The configuration's vocab_size, else the rows of the largest embedding, else 0."""
    configured = getattr(getattr(model, "config", None), "vocab_size", None)
    if isinstance(configured, int):
        return configured
    return max((m.num_embeddings for m in model.modules() if isinstance(m, nn.Embedding)), default=0)


def _role(name: str, shape: tuple[int, ...], users: list[tuple[str, Kind]], vocabulary: int) -> ParameterRole:
    kinds = [kind for _, kind in users]
    kind: Kind = "embedding" if "embedding" in kinds else (kinds[0] if kinds else "other")
    if kind == "embedding" and "conv1d" in kinds:
        kind = "other"
    is_vocabulary = kind in ("embedding", "linear") and shape[0] == vocabulary > 0
    return ParameterRole(name, kind, shape, tuple(module for module, _ in users), is_vocabulary)
