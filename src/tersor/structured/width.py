"""Channels of the hidden states: every module that reads or writes them, cut together."""

from __future__ import annotations

from math import gcd

import torch
from torch import nn

from tersor.calibrate.roles import module_kind
from tersor.errors import UsageError
from tersor.structured.anatomy import Anatomy, Attention, FeedForward
from tersor.structured.projections import keep_inputs, keep_outputs, n_inputs, n_outputs

# Kernels like widths that are multiples of 8 floats.
_ALIGNMENT = 8


def hidden_width(model: nn.Module, anatomy: Anatomy) -> int:
    """The number of channels: what every attention layer reads. Raises: UsageError if they differ."""
    widths = {n_inputs(model.get_submodule(a.inputs[0])) for a in anatomy.attentions()}
    if len(widths) != 1:
        raise UsageError(f"{anatomy.name}: layers read hidden states of different widths {sorted(widths)}")
    return widths.pop()


def kept_width(width: int, share: float, n_heads: int) -> int:
    """How many channels stay: a multiple of the heads (configurations ask for it), and of 8 where that is possible."""
    step = n_heads * _ALIGNMENT // gcd(n_heads, _ALIGNMENT)
    step = step if 4 * step <= width and width % step == 0 else n_heads
    kept = round(width * (1 - share) / step) * step
    if not 0 < kept < width:
        raise UsageError(
            f"step 'width': share={share} of {width} channels leaves {kept}, in steps of {step}; use a share of "
            f"{step / width:.3g} or a multiple of it"
        )
    return kept


def keep_channels(model: nn.Module, anatomy: Anatomy, channels: torch.Tensor) -> None:
    """Cut the hidden states of a whole model down to some channels.

    Raises: UsageError naming a module whose use of them is not known.
    """
    width = hidden_width(model, anatomy)
    for block in anatomy.blocks:
        if block.unknown:
            raise UsageError(
                f"{block.unknown[0]}: no part of a known attention or feed-forward layer, so the width cannot change; "
                "leave out step 'width'"
            )
    readers, writers = _of_blocks(anatomy)
    done: dict[int, nn.Parameter] = {}
    for name, module in model.named_modules():
        if name in readers:
            keep_inputs(module, channels)
        elif name in writers:
            keep_outputs(module, channels)
        else:
            _cut_other(name, module, width, channels, done)


def _of_blocks(anatomy: Anatomy) -> tuple[set[str], set[str]]:
    """Names of the layers that read the hidden states, and of those that write to them."""
    parts: list[Attention | FeedForward] = [*anatomy.attentions(), *anatomy.feed_forwards()]
    return {name for part in parts for name in part.inputs}, {part.output for part in parts}


def _cut_other(
    name: str, module: nn.Module, width: int, channels: torch.Tensor, done: dict[int, nn.Parameter]
) -> None:
    """Cut what is outside of attention and feed-forward layers: embeddings, norms, poolers, heads."""
    kind = module_kind(module)
    if kind == "embedding":
        if module.weight.shape[1] == width:  # type: ignore[index]
            _replace(module, "weight", 1, channels, done)
            module.embedding_dim = len(channels)  # type: ignore[assignment]
        return
    if kind in ("linear", "conv1d"):
        _cut_linear(module, width, channels, done)
        return
    for parameter_name, parameter in list(module.named_parameters(recurse=False)):
        if width not in parameter.shape:
            continue
        if parameter.ndim != 1:
            raise UsageError(
                f"{name}.{parameter_name}: shape {tuple(parameter.shape)} holds the width {width}, but this is no "
                "linear layer, embedding or norm; leave out step 'width'"
            )
        _replace(module, parameter_name, 0, channels, done)
        if hasattr(module, "normalized_shape"):
            module.normalized_shape = (len(channels),)  # type: ignore[assignment]


def _cut_linear(module: nn.Module, width: int, channels: torch.Tensor, done: dict[int, nn.Parameter]) -> None:
    """A layer outside the blocks: what it reads, and what it writes if that is as wide (a pooler, say)."""
    weight = module.weight
    assert isinstance(weight, nn.Parameter), "of a linear layer"
    if id(weight) in done:  # tied to an embedding
        module.weight = done[id(weight)]
        module.in_features = len(channels)  # type: ignore[assignment]
        return
    rows, columns = n_outputs(module), n_inputs(module)
    if columns == width:
        keep_inputs(module, channels)
    if rows == width:
        keep_outputs(module, channels)


def _replace(
    module: nn.Module, name: str, dimension: int, channels: torch.Tensor, done: dict[int, nn.Parameter]
) -> None:
    parameter = module.get_parameter(name)
    if id(parameter) not in done:
        cut = parameter.detach().index_select(dimension, channels).contiguous()
        done[id(parameter)] = nn.Parameter(cut, requires_grad=parameter.requires_grad)
    setattr(module, name, done[id(parameter)])
