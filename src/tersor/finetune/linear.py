"""The linear layers of a model whose weights are stored as large tensors."""

from __future__ import annotations

from torch import nn

from tersor.finetune.archive_model import ArchiveModel


def linear_weights(model: ArchiveModel) -> dict[str, nn.Module]:
    """Modules with a large stored weight, by its name; embeddings are none, and tied weights are left out.

    A weight that two modules hold would have to move in both.
    """
    network = model.loaded.model
    small, counts = model.small(), _uses(network)
    found = {}
    for prefix, module in network.named_modules():
        name = f"{prefix}.weight"
        weight = getattr(module, "weight", None)
        if name not in model.stored or name in small or isinstance(module, nn.Embedding):
            continue
        if isinstance(weight, nn.Parameter) and weight.ndim == 2 and counts[id(weight)] == 1:
            found[name] = module
    return found


def _uses(network: nn.Module) -> dict[int, int]:
    """How many modules hold each parameter."""
    counts: dict[int, int] = {}
    for module in network.modules():
        for parameter in module.parameters(recurse=False):
            counts[id(parameter)] = counts.get(id(parameter), 0) + 1
    return counts
