"""The linear layers of a block in the order in which they can be quantized, and what their outputs are added to."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

import torch
from torch import nn
from torch.utils.hooks import RemovableHandle

from tersor.calibrate.roles import module_kind
from tersor.recovery.blocks import BlockCall, Stop, hidden_of, removing

# Of the largest value: how closely a sum must be met to count as one (float32 rounding).
_SAME = 1e-5


@dataclass(frozen=True, slots=True)
class Point:
    """A place in a block where hidden states pass: the input or the output of one of its modules ("": the block)."""

    module: str
    side: Literal["input", "output"]


@dataclass(frozen=True, slots=True)
class Linear:
    """A linear layer of a block.

    name: inside the block. residual: the hidden states that its output is added to, unscaled; None if it is not.
    """

    name: str
    residual: Point | None


@dataclass(frozen=True, slots=True)
class Stage:
    """Linear layers that read the same input (query, key, value; gate and up), so that none changes another's."""

    linears: tuple[Linear, ...]

    @property
    def residuals(self) -> list[Point]:
        return list(dict.fromkeys(linear.residual for linear in self.linears if linear.residual is not None))


@dataclass(frozen=True, slots=True)
class Seen:
    """What passes a stage: the input of its linear layers, and the hidden states that outputs are added to."""

    inputs: torch.Tensor
    residuals: dict[Point, torch.Tensor]


@dataclass(frozen=True, slots=True)
class _Event:
    """A tensor at a point; `values`: as it was then, of the first sequence."""

    point: Point
    tensor: torch.Tensor
    values: torch.Tensor

    def is_same_tensor(self, other: _Event) -> bool:
        a, b = self.tensor, other.tensor
        return a.data_ptr() == b.data_ptr() and a.shape == b.shape and a.stride() == b.stride()


def find_stages(block: nn.Module, call: BlockCall, hidden: torch.Tensor) -> list[Stage]:
    """The stages of a block in the order of execution, seen in one pass over `hidden`.

    Holds the linear layers that run once on (sequences, length, width) inputs: not the experts of a mixture, which
    see other tokens once the router's input has changed.
    Residual connections are found by value: a linear layer writes to the stream if what some later module reads, or the
    block returns, is its output plus something that was there before its input. Names and classes do not matter.
    """
    events = _events(block, call, hidden)
    modules = dict(block.named_modules())
    n_seen = Counter(event.point for event in events)
    events = [event for event in events if n_seen[event.point] == 1]
    stages: list[tuple[_Event, list[Linear]]] = []
    for number, event in enumerate(events):
        name = event.point.module
        is_linear = module_kind(modules[name]) in ("linear", "conv1d") and event.point.side == "input"
        if not is_linear or event.tensor.shape[:2] != hidden.shape[:2]:
            continue
        linear = Linear(name, _residual_of(events, number))
        if stages and stages[-1][0].is_same_tensor(event):
            stages[-1][1].append(linear)
        else:
            stages.append((event, [linear]))
    return [Stage(tuple(linears)) for _, linears in stages]


@torch.no_grad()
def watch_stages(
    block: nn.Module, call: BlockCall, hidden: torch.Tensor, stages: Sequence[Stage]
) -> tuple[list[Seen], torch.Tensor]:
    """Run a block; what passes each of the stages, and the block's new hidden states."""
    seen: dict[Point, torch.Tensor] = {}
    points = [point for stage in stages for point in (_input_point(stage), *stage.residuals)]
    with removing(iter([_watch(block, point, seen, stop=False) for point in points])):
        output = call.run(block, hidden)
    return [_seen(stage, seen) for stage in stages], output


@torch.no_grad()
def watch_stage(block: nn.Module, call: BlockCall, hidden: torch.Tensor, stage: Stage) -> Seen:
    """Run a block up to a stage only; what passes it."""
    seen: dict[Point, torch.Tensor] = {}
    handles = [_watch(block, point, seen, stop=False) for point in stage.residuals]
    handles.append(_watch(block, _input_point(stage), seen, stop=True))
    with removing(iter(handles)):
        try:
            call.run(block, hidden)
        except Stop:
            return _seen(stage, seen)
    raise AssertionError("find_stages saw this layer run")


def _input_point(stage: Stage) -> Point:
    return Point(stage.linears[0].name, "input")


def _seen(stage: Stage, seen: dict[Point, torch.Tensor]) -> Seen:
    return Seen(seen[_input_point(stage)], {point: seen[point] for point in stage.residuals})


def _watch(
    block: nn.Module, point: Point, seen: dict[Point, torch.Tensor], *, stop: bool
) -> list[RemovableHandle]:
    module = block.get_submodule(point.module)

    def before(module: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
        value = _first_tensor(args, kwargs)
        assert value is not None, "the point was seen before"
        seen[point] = value
        if stop:
            raise Stop

    def after(module: nn.Module, args: tuple[Any, ...], output: Any) -> None:
        value = hidden_of(output)
        assert value is not None, "the point was seen before"
        seen[point] = value

    if point.side == "input":
        return [module.register_forward_pre_hook(before, with_kwargs=True)]
    return [module.register_forward_hook(after)]


@torch.no_grad()
def _events(block: nn.Module, call: BlockCall, hidden: torch.Tensor) -> list[_Event]:
    events: list[_Event] = []

    def add(point: Point, value: torch.Tensor | None) -> None:
        if value is not None and value.ndim == 3:
            events.append(_Event(point, value, value[:1].clone()))

    def hooks(name: str, module: nn.Module) -> list[RemovableHandle]:
        def before(_: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
            add(Point(name, "input"), _first_tensor(args, kwargs))

        def after(_: nn.Module, args: tuple[Any, ...], output: Any) -> None:
            add(Point(name, "output"), hidden_of(output))

        return [
            module.register_forward_pre_hook(before, with_kwargs=True),
            module.register_forward_hook(after),
        ]

    with removing(hooks(name, module) for name, module in block.named_modules()):
        call.run(block, hidden)
    return events


def _first_tensor(args: tuple[Any, ...], kwargs: dict[str, Any]) -> torch.Tensor | None:
    for value in (*args, *kwargs.values()):
        if isinstance(value, torch.Tensor) and value.is_floating_point():
            return value
    return None


def _residual_of(events: Sequence[_Event], number: int) -> Point | None:
    """The point before event `number` (a linear layer's input) that is added to the layer's output."""
    name = events[number].point.module
    output = next((i for i, event in enumerate(events) if event.point == Point(name, "output")), None)
    if output is None:
        return None
    added = events[output].values
    for later in events[output + 1 :]:
        if later.values.shape != added.shape:
            continue
        missing = later.values - added
        tolerance = _SAME * float(later.values.abs().max())
        if float(missing.abs().max()) <= tolerance:
            continue
        for before in events[:number]:
            if before.values.shape == missing.shape and torch.allclose(
                before.values, missing, rtol=0.0, atol=tolerance
            ):
                return before.point
    return None
