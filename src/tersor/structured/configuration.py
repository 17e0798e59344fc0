"""config.json of a smaller model: what it can say, and the model that it describes."""

from __future__ import annotations

import copy
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import torch
from huggingface_hub.errors import StrictDataclassError
from torch import nn

from tersor.archive.folder import reduced_quantization_config
from tersor.errors import UsageError
from tersor.structured.anatomy import Anatomy, find_anatomy
from tersor.structured.heads import describe_modules, resize_modules
from tersor.structured.width import hidden_width

_QUANTIZATION = "quantization_config"
_NEURONS = ("intermediate_size", "n_inner", "hidden_dim", "ffn_dim")


@dataclass(frozen=True, slots=True)
class Described:
    """A configuration, and the attention layers that it cannot describe ({}: it says everything)."""

    config: Any
    modules: dict[str, dict[str, int]]


def describe(model: nn.Module, anatomy: Anatomy, kept_layers: list[int]) -> Described:
    """The configuration of a model that was cut down; its own is that of the original.

    kept_layers: numbers in the original. Heads are said by the configuration where transformers then builds these very
    shapes, else by "tersor_modules".
    Raises: UsageError if neither describes the model.
    """
    config = _config(model, anatomy, kept_layers)
    with_heads = _with_heads(config, model, anatomy)
    if _why_not(model, with_heads, {}) == "":
        return Described(with_heads, {})
    modules = describe_modules(model, anatomy)
    reason = _why_not(model, config, modules)
    if reason:
        raise UsageError(f"{type(model).__name__}: no configuration builds the smaller model ({reason})")
    return Described(config, modules)


def changes(before: Any, after: Any) -> dict[str, Any]:
    """The entries of config.json that differ."""
    old, new = before.to_dict(), after.to_dict()
    new.pop(_QUANTIZATION, None)
    return {name: value for name, value in new.items() if name not in old or old[name] != value}


def build(model: nn.Module, described: Described) -> Any:
    """A fresh model of the described shapes with the weights of `model`, in evaluation mode.

    Buffers, layer numbers and ties are then what a reloaded model has.
    """
    with torch.random.fork_rng(devices=[]):
        fresh: Any = type(model)(copy.deepcopy(described.config))
    if described.modules:
        resize_modules(fresh, described.modules)
    fresh.load_state_dict(model.state_dict())
    fresh.tie_weights()
    if described.modules:
        # So that save_pretrained writes what opens again.
        fresh.config.quantization_config = reduced_quantization_config(described.modules)
    return fresh.to(torch.float32).eval()


def _config(model: nn.Module, anatomy: Anatomy, kept_layers: list[int]) -> Any:
    """The original's configuration with the new numbers of layers, neurons and channels."""
    original: Any = model.config
    config = copy.deepcopy(original)
    vars(config).pop(_QUANTIZATION, None)
    n_layers = original.num_hidden_layers
    if len(kept_layers) < n_layers:
        for name, value in original.to_dict().items():
            if isinstance(value, list | tuple) and len(value) == n_layers:
                setattr(config, name, [value[layer] for layer in kept_layers])
        config.num_hidden_layers = len(kept_layers)
    config.hidden_size = hidden_width(model, anatomy)
    neurons = {block.feed_forward.n_neurons for block in anatomy.blocks if block.feed_forward is not None}
    name = next((name for name in _NEURONS if hasattr(config, name)), None)
    if name is not None and len(neurons) == 1:
        (n_neurons,) = neurons
        # GPT-2's n_inner may be None: four times the width.
        if getattr(config, name) is not None or n_neurons != 4 * config.hidden_size:
            setattr(config, name, n_neurons)
    if getattr(config, "head_dim", None) is not None:
        config.head_dim = anatomy.attentions()[0].head_size
    return config


def _with_heads(config: Any, model: nn.Module, anatomy: Anatomy) -> Any:
    config = copy.copy(config)
    attention = anatomy.attentions()[0]
    config.num_attention_heads = attention.n_heads
    if hasattr(config, "num_key_value_heads"):
        config.num_key_value_heads = attention.n_key_value_heads
    if hasattr(model.get_submodule(attention.module), "head_dim") and (
        attention.head_size * attention.n_heads != config.hidden_size
    ):
        config.head_dim = attention.head_size
    return config


def _why_not(model: nn.Module, config: Any, modules: Mapping[str, object]) -> str:
    """Why this configuration does not build the shapes of `model`; "" if it does."""
    try:
        # As it will be read from the file: some checks run only then.
        reread = type(config).from_dict(config.to_dict())
        with torch.device("meta"):
            built: Any = type(model)(reread)
        if modules:
            resize_modules(built, modules)
    except (ValueError, TypeError, StrictDataclassError) as exc:
        return str(exc)
    expected = {name: tuple(value.shape) for name, value in model.state_dict().items()}
    found = {name: tuple(value.shape) for name, value in built.state_dict().items()}
    if expected != found:
        name = next(name for name in {**expected, **found} if expected.get(name) != found.get(name))
        return f"{name} would have shape {found.get(name)}, needed {expected.get(name)}"
    if [a.head_size for a in find_anatomy(built).attentions()] != [
        a.head_size for a in find_anatomy(model).attentions()
    ]:
        return "heads would have another size"
    return ""
