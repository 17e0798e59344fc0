"""How much the output would move if a head, a neuron or a channel were removed, predicted in one pass.

With g the gradient at an activation a of v . f, v drawn so that E[gg'] is the Hessian of the output's distance
(`calibrate.objective`), removing the activation costs 1/2 E[(sum of g a)^2], the sum over what is removed together and
over the tokens of a sequence.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import nn

from tersor.calibrate.batches import Batch
from tersor.calibrate.model_inputs import frozen
from tersor.calibrate.objective import Objective
from tersor.calibrate.threads import single_thread
from tersor.recovery.blocks import hidden_of, removing
from tersor.structured.anatomy import Anatomy, Attention, FeedForward
from tersor.structured.projections import matrix_of


@dataclass(slots=True)
class Scores:
    """Predicted distance per output when one unit is removed, float64.

    inputs: of every watched linear layer, by name: (n_inputs,) of single inputs, or of groups of them.
    channels: (width,), of the hidden states.
    """

    inputs: dict[str, torch.Tensor] = field(default_factory=dict)
    channels: torch.Tensor | None = None
    n_outputs: int = 0


def fisher_scores(
    model: nn.Module, anatomy: Anatomy, batches: Sequence[Batch], objective: Objective, seed: int
) -> Scores:
    """Scores of the groups of heads and of the neurons of every block, and of the channels."""
    scores = Scores()
    with single_thread(), frozen(model):
        for number, batch in enumerate(batches):
            generator = torch.Generator().manual_seed(1_000_003 * seed + number)
            watched = _Watched(model, anatomy)
            with removing(iter([watched.handles()])):
                scores.n_outputs += objective.backward(model, batch, generator)
            watched.add_to(scores)
    for name, total in scores.inputs.items():
        scores.inputs[name] = total / (2 * max(1, scores.n_outputs))
    if scores.channels is not None:
        scores.channels /= 2 * max(1, scores.n_outputs)
    return scores


class _Watched:
    """Sums of g a over one batch: (sequences, units) for every watched place."""

    def __init__(self, model: nn.Module, anatomy: Anatomy) -> None:
        self._model = model
        self._anatomy = anatomy
        self._sums: dict[str, torch.Tensor] = {}
        self._channels: list[torch.Tensor] = []

    def handles(self) -> list[Any]:
        handles = [
            module.register_forward_hook(_differentiable)
            for module in self._model.modules()
            if isinstance(module, nn.Embedding)
        ]
        for block in self._anatomy.blocks:
            if block.attention is not None:
                handles.append(self._watch(block.attention.output, _by_group(block.attention)))
            if block.feed_forward is not None:
                handles.append(self._watch(block.feed_forward.output, lambda product: product))
            module = self._model.get_submodule(block.name)
            handles.append(module.register_forward_hook(self._watch_channels))
        return handles

    def add_to(self, scores: Scores) -> None:
        for name, sums in self._sums.items():
            squares = sums.double().square().sum(dim=0)
            scores.inputs[name] = scores.inputs.get(name, torch.zeros_like(squares)) + squares
        if self._channels:
            total = torch.stack(self._channels).sum(dim=0).double().square().sum(dim=0)
            scores.channels = total if scores.channels is None else scores.channels + total

    def _watch(self, name: str, group: Callable[[torch.Tensor], torch.Tensor]) -> Any:
        def before(_: nn.Module, args: tuple[torch.Tensor, ...]) -> None:
            if args[0].requires_grad:
                # Without its graph: a hook that held its own tensor would keep the whole graph alive.
                kept = args[0].detach()
                args[0].register_hook(lambda gradient: arrived(kept, gradient))  # type: ignore[no-untyped-call]

        def arrived(inputs: torch.Tensor, gradient: torch.Tensor) -> None:
            self._sums[name] = group(_per_sequence(inputs, gradient))

        return self._model.get_submodule(name).register_forward_pre_hook(before)

    def _watch_channels(self, _: nn.Module, __: object, output: Any) -> None:
        hidden = hidden_of(output)
        if hidden is not None and hidden.requires_grad:
            kept = hidden.detach()
            channels = self._channels
            hidden.register_hook(lambda gradient: channels.append(_per_sequence(kept, gradient)))  # type: ignore[no-untyped-call]


def magnitudes(model: nn.Module, part: Attention | FeedForward) -> torch.Tensor:
    """The sums of squares of the weights that belong to a group of heads or a neuron: what fisher is compared with."""
    output = matrix_of(model.get_submodule(part.output)).double().square().sum(dim=0)
    if isinstance(part, FeedForward):
        return output + sum(
            matrix_of(model.get_submodule(name)).double().square().sum(dim=1) for name in part.inputs
        )
    total = output.reshape(part.n_key_value_heads, -1).sum(dim=1)
    for name in part.inputs:
        rows = matrix_of(model.get_submodule(name)).double().square().sum(dim=1)
        n_parts = 3 if part.is_fused else 1
        total = total + rows.reshape(n_parts, part.n_key_value_heads, -1).sum(dim=(0, 2))
    return total


def _by_group(attention: Attention) -> Callable[[torch.Tensor], torch.Tensor]:
    return lambda product: product.reshape(len(product), attention.n_key_value_heads, -1).sum(dim=-1)


def _per_sequence(inputs: torch.Tensor, gradient: torch.Tensor) -> torch.Tensor:
    """(sequences, units): sum over the tokens of input times gradient."""
    product = inputs * gradient
    return product if product.ndim == 2 else product.reshape(len(product), -1, product.shape[-1]).sum(dim=1)


def _differentiable(_: nn.Module, __: object, output: torch.Tensor) -> torch.Tensor:
    """The graph starts at the embeddings: no parameter is differentiable."""
    return output if output.requires_grad else output.requires_grad_(True)
