"""How long a model with fewer heads, neurons or layers would take: from measured times of its kernels, shape by shape.

FLOPs would not do: MiniLM's layers of 384 columns run at half the rate of one of 4096, and rounding a width to a
multiple of 16 can be worth more than removing a few columns.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Any

import torch
from torch import nn
from torch.nn import functional

from tersor.calibrate.batches import Batch
from tersor.calibrate.model_inputs import call_model, frozen
from tersor.calibrate.threads import single_thread
from tersor.structured.anatomy import Anatomy, find_anatomy
from tersor.structured.projections import n_inputs, n_outputs

# A kernel is timed until both are reached; the fastest repetition counts. Times are those of the processor, on one
# thread: with other work on the machine a pass of MiniLM takes 4 times as long by the clock, its kernels do not, for
# they fit into a time slice.
MIN_REPEATS, MIN_SECONDS = 7, 0.01
MODEL_REPEATS = 15


@dataclass(slots=True)
class KernelTimes:
    """Seconds of F.linear in float32 for inputs of n_tokens rows, measured once per shape."""

    n_tokens: int
    _known: dict[tuple[int, int], float] = field(default_factory=dict)

    def linear(self, inputs: int, outputs: int) -> float:
        """Seconds of one layer of that shape."""
        key = inputs, outputs
        if key not in self._known:
            self._known[key] = _time_linear(self.n_tokens, inputs, outputs)
        return self._known[key]

    def factors(self, inputs: int, outputs: int, rank: int) -> float:
        """Seconds of the same layer in two factors."""
        return self.linear(inputs, rank) + self.linear(rank, outputs)


@dataclass(frozen=True, slots=True)
class Shares:
    """What is removed: shares of the layers, of each layer's groups of heads, of its neurons."""

    layers: float = 0.0
    heads: float = 0.0
    neurons: float = 0.0


class LatencyModel:
    """Predicts the seconds of one forward pass.

    What is no linear layer (attention itself, norms, embeddings, Python) is what the measured pass takes beyond the
    kernels; it goes with the number of layers, and is taken not to shrink with heads, which is cautious.
    """

    def __init__(self, model: nn.Module, batch: Batch, times: KernelTimes) -> None:
        self._model, self._times = model, times
        self._anatomy: Anatomy = find_anatomy(model)
        self.seconds = time_models([model], batch)[0]
        self._other = max(0.0, self.seconds - self._linears(Shares()))

    def predict(self, shares: Shares) -> float:
        """Seconds with these parts removed."""
        n_layers = len(self._anatomy.blocks)
        kept = (n_layers - round(shares.layers * n_layers)) / n_layers
        return kept * (self._other + self._linears(shares))

    def _linears(self, shares: Shares) -> float:
        """Seconds of all linear layers of the blocks."""
        total = 0.0
        for attention in self._anatomy.attentions():
            groups = attention.n_key_value_heads
            kept = (groups - round(shares.heads * groups)) / groups
            for name in attention.inputs:
                total += self._shaped(name, outputs=kept)
            total += self._shaped(attention.output, inputs=kept)
        for part in self._anatomy.feed_forwards():
            kept = (part.n_neurons - round(shares.neurons * part.n_neurons)) / part.n_neurons
            for name in part.inputs:
                total += self._shaped(name, outputs=kept)
            total += self._shaped(part.output, inputs=kept)
        return total

    def _shaped(self, name: str, *, inputs: float = 1.0, outputs: float = 1.0) -> float:
        module = self._model.get_submodule(name)
        return self._times.linear(round(inputs * n_inputs(module)), round(outputs * n_outputs(module)))


def time_models(models: Sequence[Any], batch: Batch, repeats: int = MODEL_REPEATS) -> list[float]:
    """Seconds of the fastest forward pass of each model, taken in turns, so that a slow moment meets all of them."""
    seconds: list[list[float]] = [[] for _ in models]
    with single_thread(), torch.inference_mode():
        for _ in range(repeats + 1):  # the first pass is slower
            for number, model in enumerate(models):
                with frozen(model):
                    seconds[number].append(_seconds(partial(call_model, model, batch)))
    return [min(found) for found in seconds]


def _time_linear(n_tokens: int, inputs: int, outputs: int) -> float:
    generator = torch.Generator().manual_seed(0)
    rows = torch.randn(n_tokens, inputs, generator=generator)
    weight = torch.randn(outputs, inputs, generator=generator)
    bias = torch.zeros(outputs)
    found: list[float] = []
    with single_thread(), torch.inference_mode():
        functional.linear(rows, weight, bias)
        while len(found) < MIN_REPEATS or sum(found) < MIN_SECONDS:
            found.append(_seconds(lambda: functional.linear(rows, weight, bias)))
    return min(found)


def _seconds(work: Callable[[], Any]) -> float:
    began = time.thread_time()
    work()
    return time.thread_time() - began
