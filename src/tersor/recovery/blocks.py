"""The blocks of a Transformer: finding them, and running one alone on given hidden states."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import nn
from torch.utils.hooks import RemovableHandle

from tersor.calibrate.batches import Batch
from tersor.calibrate.model_inputs import call_model
from tersor.calibrate.roles import module_kind

_HIDDEN_NAME = "hidden_states"
_PROBE_SEQUENCES = 2


class Stop(Exception):  # noqa: N818  # no error: it ends a pass early
    """Raised by a hook: the forward pass has shown what it was run for."""


@dataclass(frozen=True, slots=True)
class BlockCall:
    """How the model called a block on one batch: everything but the hidden states.

    by_name: the hidden states came as `hidden_states=`, not as first positional argument.
    """

    args: tuple[Any, ...]
    kwargs: dict[str, Any]
    by_name: bool

    def run(self, block: nn.Module, hidden: torch.Tensor) -> torch.Tensor:
        """The block's new hidden states."""
        if self.by_name:
            output = block(*self.args, **{**self.kwargs, _HIDDEN_NAME: hidden})
        else:
            output = block(hidden, *self.args, **self.kwargs)
        result = hidden_of(output)
        assert result is not None, "find_stacks took blocks that return hidden states only"
        return result

    def moved(self, recorded: BlockCall, now: BlockCall) -> BlockCall:
        """This call with what it shared with `recorded` (the first block's, then) replaced by what is there `now`.

        A decoder's blocks all read the encoder's output: it is another tensor once the encoder is quantized.
        """
        kwargs = {
            name: now.kwargs[name] if _is_shared(name, value, recorded, now) else value
            for name, value in self.kwargs.items()
        }
        same_args = len(self.args) == len(recorded.args) == len(now.args)
        args = (
            tuple(n if a is r else a for a, r, n in zip(self.args, recorded.args, now.args, strict=True))
            if same_args
            else self.args
        )
        return BlockCall(args, kwargs, self.by_name)


@dataclass(frozen=True, slots=True)
class BlockStack:
    """Blocks that run one after the other: each one's hidden states are the input of the next."""

    name: str
    blocks: tuple[nn.Module, ...]

    def prefix(self, index: int) -> str:
        """What the model's names of a block's parameters start with."""
        return f"{self.name}.{index}."


@dataclass(slots=True)
class Entry:
    """What one batch looks like where it enters a stack: the hidden states, and the call of every block."""

    hidden: torch.Tensor
    calls: list[BlockCall]


@dataclass(slots=True)
class _Seen:
    """Hidden states that went into a block and came out of it, once per call.

    has_cache: it was called with a cache of keys and values, which a replayed call would extend.
    """

    inputs: list[torch.Tensor | None] = field(default_factory=list)
    outputs: list[torch.Tensor | None] = field(default_factory=list)
    first_call: int = -1
    has_cache: bool = False


def find_stacks(model: nn.Module, batch: Batch) -> tuple[list[BlockStack], list[str]]:
    """The stacks of blocks in the order of execution, and a sentence for every list of modules that is none.

    A stack is an outermost ModuleList of which every member runs exactly once, in order, on (sequences, length, width)
    hidden states that are the output of the member before. Tried on a few sequences of `batch`, not guessed by name.
    """
    candidates = dict(_candidates(model))
    seen = {id(block): _Seen() for blocks in candidates.values() for block in blocks}
    probe = Batch(batch.ids[:_PROBE_SEQUENCES], batch.mask[:_PROBE_SEQUENCES])
    with torch.no_grad(), removing(_watch(seen, blocks) for blocks in candidates.values()):
        call_model(model, probe)
    stacks, problems = [], []
    for name, blocks in candidates.items():
        problem = _why_no_stack([seen[id(block)] for block in blocks], probe)
        if problem is None:
            stacks.append(BlockStack(name, tuple(blocks)))
        else:
            problems.append(f"{name}: {problem}")
    return sorted(stacks, key=lambda stack: seen[id(stack.blocks[0])].first_call), problems


def record_entries(model: nn.Module, stacks: Sequence[BlockStack], batch: Batch) -> list[Entry]:
    """One forward pass of the whole model: the batch where it enters each stack."""
    calls: dict[int, BlockCall] = {}
    hidden: dict[int, torch.Tensor] = {}

    def record(block: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
        calls[id(block)], hidden[id(block)] = _split_call(args, kwargs)
        if block is stacks[-1].blocks[-1]:
            raise Stop

    _run_until_stop(model, batch, [block for stack in stacks for block in stack.blocks], record)
    return [
        Entry(hidden[id(stack.blocks[0])], [calls[id(block)] for block in stack.blocks]) for stack in stacks
    ]


def record_entry(model: nn.Module, stack: BlockStack, batch: Batch, recorded: Entry) -> Entry:
    """The batch where it enters a stack now that modules before it changed; `recorded`: as it was before that."""
    found: list[tuple[BlockCall, torch.Tensor]] = []

    def record(block: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
        found.append(_split_call(args, kwargs))
        raise Stop

    _run_until_stop(model, batch, [stack.blocks[0]], record)
    now, hidden = found[0]
    return Entry(hidden, [call.moved(recorded.calls[0], now) for call in recorded.calls])


@contextmanager
def removing(handles: Iterator[list[RemovableHandle]]) -> Iterator[None]:
    """Hooks that exist inside."""
    kept: list[RemovableHandle] = []
    try:
        for some in handles:
            kept += some
        yield
    finally:
        for handle in kept:
            handle.remove()


def hidden_of(output: Any) -> torch.Tensor | None:
    """The hidden states in a module's output: the tensor, or the first of several; None if there is none."""
    first = output[0] if isinstance(output, tuple | list) and output else output
    return first if isinstance(first, torch.Tensor) and first.is_floating_point() else None


def _candidates(model: nn.Module) -> Iterator[tuple[str, list[nn.Module]]]:
    """Outermost lists of modules of one class that hold linear layers."""
    taken: list[str] = []
    for name, module in model.named_modules():
        if not isinstance(module, nn.ModuleList) or not len(module):
            continue
        if any(name.startswith(f"{outer}.") for outer in taken):
            continue
        blocks = list(module)
        has_linear = any(module_kind(part) in ("linear", "conv1d") for part in blocks[0].modules())
        if has_linear and len({type(block) for block in blocks}) == 1:
            taken.append(name)
            yield name, blocks


def _watch(seen: dict[int, _Seen], blocks: Sequence[nn.Module]) -> list[RemovableHandle]:
    def watch(module: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any], output: Any) -> None:
        record = seen[id(module)]
        if record.first_call < 0:
            record.first_call = 1 + max(other.first_call for other in seen.values())
        record.has_cache |= any(type(value).__name__.endswith("Cache") for value in (*args, *kwargs.values()))
        record.inputs.append(_input_of(args, kwargs))
        record.outputs.append(hidden_of(output))

    return [block.register_forward_hook(watch, with_kwargs=True) for block in blocks]


def _why_no_stack(seen: Sequence[_Seen], batch: Batch) -> str | None:
    """What makes these blocks no chain; None if they are one."""
    for index, block in enumerate(seen):
        if len(block.inputs) != 1:
            return f"block {index} runs {len(block.inputs)} times in a forward pass, not once"
        if block.has_cache:
            return f"block {index} is called with a cache of keys and values"
        before, after = block.inputs[0], block.outputs[0]
        if before is None or after is None or before.ndim != 3 or before.shape[:2] != batch.mask.shape:
            return f"block {index} does not map hidden states of (sequences, length, width)"
        if before.shape != after.shape:
            return f"block {index} maps {tuple(before.shape)} to {tuple(after.shape)}"
        if index and not torch.equal(before, seen[index - 1].outputs[0]):  # type: ignore[arg-type]  # checked above
            return f"the input of block {index} is not the output of block {index - 1}"
    return None


def _run_until_stop(model: nn.Module, batch: Batch, blocks: Sequence[nn.Module], record: Any) -> None:
    handles = [[block.register_forward_pre_hook(record, with_kwargs=True)] for block in blocks]
    with torch.no_grad(), removing(iter(handles)):
        try:
            call_model(model, batch)
        except Stop:
            return
    raise AssertionError("find_stacks saw this block run")


def _input_of(args: tuple[Any, ...], kwargs: dict[str, Any]) -> torch.Tensor | None:
    return hidden_of(args[0] if args else kwargs.get(_HIDDEN_NAME))


def _split_call(args: tuple[Any, ...], kwargs: dict[str, Any]) -> tuple[BlockCall, torch.Tensor]:
    if args:
        return BlockCall(tuple(args[1:]), dict(kwargs), False), args[0]
    rest = {name: value for name, value in kwargs.items() if name != _HIDDEN_NAME}
    return BlockCall((), rest, True), kwargs[_HIDDEN_NAME]


def _is_shared(name: str, value: Any, recorded: BlockCall, now: BlockCall) -> bool:
    return name in now.kwargs and value is recorded.kwargs.get(name)
