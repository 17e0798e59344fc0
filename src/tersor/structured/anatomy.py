"""What a Transformer's blocks consist of: attention and feed-forward layers, found in the module tree.

Works on models without weights too (the meta device), so that a loader can build smaller modules before loading.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import TypeVar

from torch import nn

from tersor.calibrate.roles import module_kind
from tersor.errors import UsageError
from tersor.structured.projections import n_inputs, n_outputs

# (attention module, query, key and value under it or one that holds all three, output), as paths under a block.
_ATTENTION = (
    ("attention.self", ("query", "key", "value"), "attention.output.dense"),  # BERT, RoBERTa, Electra
    ("attention", ("q_lin", "k_lin", "v_lin"), "attention.out_lin"),  # DistilBERT
    ("self_attn", ("q_proj", "k_proj", "v_proj"), "self_attn.o_proj"),  # Llama, Mistral, Qwen2, Qwen3, Gemma
    ("attn", ("c_attn",), "attn.c_proj"),  # GPT-2
)
# (layers that write the neurons, layer that reads them), as paths under a block.
_FEED_FORWARD = (
    (("intermediate.dense",), "output.dense"),  # BERT, RoBERTa, Electra
    (("ffn.lin1",), "ffn.lin2"),  # DistilBERT
    (("mlp.gate_proj", "mlp.up_proj"), "mlp.down_proj"),  # Llama, Mistral, Qwen2, Qwen3, Gemma
    (("mlp.c_fc",), "mlp.c_proj"),  # GPT-2
)
_HEAD_SIZES = ("attention_head_size", "head_dim")
Part = TypeVar("Part")


@dataclass(frozen=True, slots=True)
class Attention:
    """One attention layer; all names are the model's. inputs: query, key and value, or the one layer of all three.

    n_heads: of queries; n_key_value_heads: of keys and values, each serving a group of query heads.
    """

    module: str
    inputs: tuple[str, ...]
    output: str
    n_heads: int
    n_key_value_heads: int
    head_size: int

    @property
    def is_fused(self) -> bool:
        return len(self.inputs) == 1

    @property
    def group(self) -> int:
        """Query heads that share one key and value head."""
        return self.n_heads // self.n_key_value_heads


@dataclass(frozen=True, slots=True)
class FeedForward:
    """One feed-forward layer. inputs: the layers whose output, after the activation, are the neurons."""

    inputs: tuple[str, ...]
    output: str
    n_neurons: int


@dataclass(frozen=True, slots=True)
class Block:
    """One layer of the model; a part is None if no known one was found.

    unknown: modules with weights of two dimensions that belong to neither part.
    """

    name: str
    attention: Attention | None
    feed_forward: FeedForward | None
    unknown: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Anatomy:
    """The stack of blocks of a model. name: of the list that holds them."""

    name: str
    blocks: tuple[Block, ...]

    def attentions(self) -> tuple[Attention, ...]:
        """Every block's attention. Raises: UsageError naming the first block without one that is known."""
        return tuple(_known(block.attention, block, "attention") for block in self.blocks)

    def feed_forwards(self) -> tuple[FeedForward, ...]:
        """Every block's feed-forward layer. Raises: UsageError naming the first block without one."""
        return tuple(_known(block.feed_forward, block, "feed-forward layer") for block in self.blocks)


def find_anatomy(model: nn.Module) -> Anatomy:
    """The blocks of a model. Raises: UsageError if there is not exactly one list of blocks with attention."""
    found = [
        Anatomy(name, blocks)
        for name, blocks in _stacks(model)
        if any(block.attention is not None for block in blocks)
    ]
    if len(found) != 1:
        lists = ", ".join(anatomy.name for anatomy in found) or "none"
        raise UsageError(
            f"{type(model).__name__}: structured pruning knows models with one stack of layers whose attention is laid "
            f"out as in BERT, DistilBERT, GPT-2 or Llama; found: {lists}. Use prune, low_rank or quantize instead"
        )
    return found[0]


def _known(part: Part | None, block: Block, what: str) -> Part:
    if part is None:
        names = ", ".join(block.unknown) or "no linear layers"
        raise UsageError(
            f"{block.name}: no {what} of a known layout (BERT, DistilBERT, GPT-2, Llama) here, only {names}; "
            "leave this step out, or use prune, low_rank or quantize"
        )
    return part


def _stacks(model: nn.Module) -> Iterator[tuple[str, tuple[Block, ...]]]:
    """Outermost lists of modules, as blocks."""
    taken: list[str] = []
    for name, module in model.named_modules():
        is_inside = any(name.startswith(f"{outer}.") for outer in taken)
        if isinstance(module, nn.ModuleList) and len(module) and not is_inside:
            taken.append(name)
            yield name, tuple(_block(f"{name}.{i}", block) for i, block in enumerate(module))


def _block(name: str, block: nn.Module) -> Block:
    modules = dict(block.named_modules())
    attention = _attention(name, modules)
    feed_forward = _feed_forward(name, modules)
    used = {
        *((*attention.inputs, attention.output) if attention else ()),
        *((*feed_forward.inputs, feed_forward.output) if feed_forward else ()),
    }
    unknown = tuple(
        f"{name}.{path}"
        for path, module in modules.items()
        if any(p.ndim > 1 for p in module.parameters(recurse=False)) and f"{name}.{path}" not in used
    )
    return Block(name, attention, feed_forward, unknown)


def _attention(name: str, modules: dict[str, nn.Module]) -> Attention | None:
    for path, inputs, output in _ATTENTION:
        paths = [f"{path}.{part}" for part in inputs]
        if not _all_linear(modules, [*paths, output]):
            continue
        size = _head_size(modules[path])
        if size is None:
            continue
        n_parts = 3 if len(paths) == 1 else 1
        n_heads = n_outputs(modules[paths[0]]) // (n_parts * size)
        n_shared = n_outputs(modules[paths[-1]]) // (n_parts * size)
        if n_inputs(modules[output]) != n_heads * size or not n_shared or n_heads % n_shared:
            continue
        if not _others_are_per_head(modules, path, [*paths, output], size):
            continue
        full = tuple(f"{name}.{part}" for part in paths)
        return Attention(f"{name}.{path}", full, f"{name}.{output}", n_heads, n_shared, size)
    return None


def _feed_forward(name: str, modules: dict[str, nn.Module]) -> FeedForward | None:
    for inputs, output in _FEED_FORWARD:
        if not _all_linear(modules, [*inputs, output]):
            continue
        n_neurons = n_inputs(modules[output])
        if all(n_outputs(modules[path]) == n_neurons for path in inputs):
            return FeedForward(tuple(f"{name}.{path}" for path in inputs), f"{name}.{output}", n_neurons)
    return None


def _all_linear(modules: dict[str, nn.Module], paths: list[str]) -> bool:
    return all(path in modules and module_kind(modules[path]) in ("linear", "conv1d") for path in paths)


def _others_are_per_head(modules: dict[str, nn.Module], path: str, known: list[str], size: int) -> bool:
    """What an attention module holds beside its projections (norms of queries, say) is the same for every head."""
    others = [
        parameter
        for name, module in modules.items()
        if (name == path or name.startswith(f"{path}.")) and name not in known
        for parameter in module.parameters(recurse=False)
    ]
    return all(tuple(parameter.shape) == (size,) for parameter in others)


def _head_size(module: nn.Module) -> int | None:
    for name in _HEAD_SIZES:
        size = getattr(module, name, None)
        if isinstance(size, int) and size > 0:
            return size
    return None
