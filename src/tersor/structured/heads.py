"""Attention modules with another number of heads than config.json says: building them, and describing them in it."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import nn

from tersor.errors import CorruptError, UsageError
from tersor.structured.anatomy import Anatomy, Attention, find_anatomy
from tersor.structured.projections import keep_inputs, keep_outputs, matrix_of, n_inputs, resize

# What attention modules of transformers call these numbers; only those that a module has are set.
_N_HEADS = ("num_attention_heads", "num_heads", "n_heads")
_N_SHARED = ("num_key_value_heads",)
_GROUPS = ("num_key_value_groups",)
_ALL_HEADS = ("all_head_size", "split_size")
_HEAD_SIZE = ("attention_head_size", "head_dim")
_FIELDS = ("heads", "key_value_heads", "head_size")
MAX_WIDTH = 1 << 20


def keep_groups(model: nn.Module, attention: Attention, groups: torch.Tensor) -> None:
    """Cut an attention layer down to some of its groups (a key and value head with its query heads)."""
    for name, rows in input_rows(attention, groups).items():
        keep_outputs(model.get_submodule(name), rows)
    keep_inputs(model.get_submodule(attention.output), output_columns(attention, groups))
    n_heads = len(groups) * attention.group
    set_heads(model.get_submodule(attention.module), n_heads, len(groups), attention.head_size)


def input_rows(attention: Attention, groups: torch.Tensor) -> dict[str, torch.Tensor]:
    """The outputs of the query, key and value layers that belong to some of the groups, by layer."""
    queries, shared = output_columns(attention, groups), _members(groups, attention.head_size)
    if attention.is_fused:
        n_rows = attention.n_heads * attention.head_size
        return {attention.inputs[0]: torch.cat([part * n_rows + queries for part in range(3)])}
    return dict(zip(attention.inputs, (queries, shared, shared), strict=True))


def output_columns(attention: Attention, groups: torch.Tensor) -> torch.Tensor:
    """The inputs of the output layer that belong to some of the groups."""
    return _members(_members(groups, attention.group), attention.head_size)


def set_heads(module: nn.Module, n_heads: int, n_key_value_heads: int, head_size: int) -> None:
    """Tell an attention module its number of heads; scores stay scaled by head_size ** -0.5."""
    before = next(getattr(module, name) for name in _HEAD_SIZE if hasattr(module, name))
    scaling = getattr(module, "scaling", None)
    if isinstance(scaling, float):
        module.scaling = scaling * (before / head_size) ** 0.5
    values = {
        **dict.fromkeys(_N_HEADS, n_heads),
        **dict.fromkeys(_N_SHARED, n_key_value_heads),
        **dict.fromkeys(_GROUPS, n_heads // n_key_value_heads),
        **dict.fromkeys(_ALL_HEADS, n_heads * head_size),
        **dict.fromkeys(_HEAD_SIZE, head_size),
    }
    for name, value in values.items():
        if hasattr(module, name):
            setattr(module, name, value)


def describe_modules(model: nn.Module, anatomy: Anatomy) -> dict[str, dict[str, int]]:
    """The "tersor_modules" of a model: heads of every attention layer, names as in the model without its head."""
    prefix = base_prefix(model)
    return {
        attention.module.removeprefix(prefix): {
            "heads": attention.n_heads,
            "key_value_heads": attention.n_key_value_heads,
            "head_size": attention.head_size,
        }
        for attention in anatomy.attentions()
    }


def base_prefix(model: nn.Module) -> str:
    """What names in the model start with that have no prefix in the model without its head; "" if it has none."""
    prefix = getattr(model, "base_model_prefix", "")
    return f"{prefix}." if isinstance(prefix, str) and prefix and hasattr(model, prefix) else ""


def resize_modules(model: nn.Module, modules: object) -> None:
    """Give attention layers the heads that config.json's "tersor_modules" says, before weights are loaded.

    modules: from a file, so nothing about it is trusted.
    Raises: CorruptError if it is not what `describe_modules` returns, or does not fit the model.
    """
    checked = _checked(modules)
    prefix = base_prefix(model)
    try:
        known = {a.module.removeprefix(prefix): a for a in find_anatomy(model).attentions()}
    except UsageError as exc:
        raise CorruptError(f"config.json: has tersor_modules, but {exc}") from exc
    for name, (n_heads, n_shared, head_size) in checked.items():
        if name not in known:
            raise CorruptError(
                f"config.json: tersor_modules names {name!r}, which is no attention layer of {type(model).__name__}; "
                "the file is damaged or of another model"
            )
        _resize(model, known[name], n_heads, n_shared, head_size)


def _resize(model: nn.Module, attention: Attention, n_heads: int, n_shared: int, head_size: int) -> None:
    wide, narrow = n_heads * head_size, n_shared * head_size
    rows = [3 * wide] if attention.is_fused else [wide, narrow, narrow]
    for name, n_rows in zip(attention.inputs, rows, strict=True):
        module = model.get_submodule(name)
        resize(module, n_rows, n_inputs(module))
    output = model.get_submodule(attention.output)
    resize(output, len(matrix_of(output)), wide)
    set_heads(model.get_submodule(attention.module), n_heads, n_shared, head_size)


def _checked(modules: object) -> dict[str, tuple[int, int, int]]:
    if not isinstance(modules, Mapping):
        raise CorruptError(f"config.json: tersor_modules is {type(modules).__name__}, not an object")
    found = {}
    for name, entry in modules.items():
        sizes = _sizes(entry)
        if sizes is None:
            raise CorruptError(
                f"config.json: tersor_modules[{name!r}] is {entry!r}; needed: integers {', '.join(_FIELDS)} in 1..2^20"
            )
        n_heads, n_shared, head_size = sizes
        if n_heads % n_shared or n_heads * head_size > MAX_WIDTH:
            raise CorruptError(
                f"config.json: tersor_modules[{name!r}]: {n_heads} heads of {head_size} in {n_shared} groups; needed: "
                f"a multiple of the groups, at most {MAX_WIDTH} wide"
            )
        found[str(name)] = (n_heads, n_shared, head_size)
    return found


def _sizes(entry: object) -> tuple[int, int, int] | None:
    """The three numbers of an entry, each in 1..MAX_WIDTH; None if it is anything else."""
    if not isinstance(entry, Mapping) or set(entry) != set(_FIELDS):
        return None
    n_heads, n_shared, head_size = (_size(entry[field]) for field in _FIELDS)
    if n_heads is None or n_shared is None or head_size is None:
        return None
    return n_heads, n_shared, head_size


def _size(value: object) -> int | None:
    if not isinstance(value, int) or isinstance(value, bool):
        return None
    return value if 1 <= value <= MAX_WIDTH else None


def _members(parts: torch.Tensor, size: int) -> torch.Tensor:
    """The elements of some runs of `size`."""
    return (parts[:, None] * size + torch.arange(size)).reshape(-1)
