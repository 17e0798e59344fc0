"""Seeing every product of a model with one of its parameters, whoever computes it.

Hooks on modules miss what is no `nn.Linear`: routers, stacked experts, a head that shares the embedding. Inside this
mode every `linear`, `addmm` and `embedding` of torch is seen, and its weight recognised.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch
from torch import nn
from torch.nn import functional
from torch.overrides import TorchFunctionMode

from tersor.calibrate.roles import ParameterRole

OnCall = Callable[[ParameterRole, int, torch.Tensor, torch.Tensor], torch.Tensor]
# Where a function takes its input and its weight: (position, keyword) each.
_Place = tuple[int, str]
_PLACES: dict[Any, tuple[_Place, _Place]] = {
    functional.linear: ((0, "input"), (1, "weight")),
    torch.addmm: ((1, "mat1"), (2, "mat2")),
    functional.embedding: ((0, "input"), (1, "weight")),
}


class ParameterCalls(TorchFunctionMode):
    """Inside `with`, in this thread, every product of a watched parameter goes through `on_call`.

    parameters: of the model, by name. roles: of those to watch; a stacked parameter is recognised slice by slice.
    on_call: (role, part, inputs, output) -> what the call returns instead of `output`. part: the number of the expert,
        0 for parameters that are no stack. inputs: vectors, or ids of rows (`is_lookup`).
    """

    def __init__(
        self, parameters: Mapping[str, nn.Parameter], roles: Sequence[ParameterRole], on_call: OnCall
    ) -> None:
        super().__init__()
        self._on_call = on_call
        self._whole = {id(parameters[role.name]): role for role in roles if role.kind != "experts"}
        self._slices: dict[int, tuple[ParameterRole, int]] = {}
        for role in roles:
            if role.kind == "experts":
                stack = parameters[role.name].detach()
                self._slices.update({part.data_ptr(): (role, number) for number, part in enumerate(stack)})

    def __torch_function__(
        self,
        func: Callable[..., Any],
        types: Sequence[type],
        args: tuple[Any, ...] = (),
        kwargs: Mapping[str, Any] | None = None,
    ) -> Any:
        given = kwargs or {}
        output = func(*args, **given)
        places = _PLACES.get(func)
        if places is None:
            return output
        inputs, weight = (_argument(args, given, place) for place in places)
        found = self._find(weight)
        return output if found is None else self._on_call(*found, inputs, output)

    def _find(self, weight: torch.Tensor) -> tuple[ParameterRole, int] | None:
        role = self._whole.get(id(weight))
        if role is not None:
            return role, 0
        found = self._slices.get(weight.data_ptr()) if self._slices else None
        return found if found is not None and weight.shape == found[0].shape[1:] else None


def is_lookup(inputs: torch.Tensor) -> bool:
    """The inputs are ids of rows, not vectors."""
    return not inputs.is_floating_point()


def _argument(args: tuple[Any, ...], kwargs: Mapping[str, Any], place: _Place) -> Any:
    position, name = place
    return args[position] if position < len(args) else kwargs[name]
