"""Hessians of linear layers and embeddings, from hooks on forward and backward passes."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field

import torch
from torch import nn

from tersor.calibrate.batches import Batch
from tersor.calibrate.objective import is_distribution, output_of, random_direction
from tersor.calibrate.roles import ParameterRole, module_kind

# Share of the plain input Hessian in the mix; end-to-end gradients alone are noisy with few tokens.
PLAIN_SHARE = 0.2


@dataclass(slots=True)
class Visit:
    """One use of a parameter in a forward pass: inputs (of a linear layer) or ids (of an embedding), and the
    gradient of the objective at its output, once it arrives."""

    parameter: str
    inputs: torch.Tensor
    is_embedding: bool
    gradient: torch.Tensor | None = None

    def set_gradient(self, gradient: torch.Tensor) -> None:
        self.gradient = gradient


@dataclass(slots=True)
class HessianSum:
    """H = sum over sequences of (dW)'dW + plain_scale * sum of x'x, for dW = sum over tokens of g x'.

    plain_scale is fixed by the first visit so that the plain part has PLAIN_SHARE of the trace.
    row_energy, row_count: for embeddings, sum of squared gradients and number of uses per row.
    """

    matrix: torch.Tensor
    plain_scale: float | None = None
    row_energy: torch.Tensor | None = None
    row_count: torch.Tensor | None = None

    def add_linear(self, inputs: torch.Tensor, gradient: torch.Tensor | None) -> None:
        """inputs: (sequences, length, n), zero at padding. gradient: (sequences, length, out) or None."""
        flat = inputs.reshape(-1, inputs.shape[-1])
        if gradient is None:
            self.matrix.addmm_(flat.T, flat)
            return
        weighted = (gradient @ gradient.transpose(1, 2)) @ inputs  # (sequences, length, n)
        if self.plain_scale is None:
            traces = float((inputs * weighted).sum()), float(inputs.square().sum())
            self.plain_scale = PLAIN_SHARE / (1 - PLAIN_SHARE) * traces[0] / max(traces[1], 1e-30)
        weighted.add_(inputs, alpha=self.plain_scale)
        self.matrix.addmm_(flat.T, weighted.reshape(flat.shape))

    def add_embedding(self, ids: torch.Tensor, gradient: torch.Tensor) -> None:
        """ids: int64; gradient: ids' shape + (n,). Rows that padding uses have zero gradient."""
        flat = gradient.reshape(-1, gradient.shape[-1])
        self.matrix.addmm_(flat.T, flat)
        energy = flat.square().sum(dim=1)
        assert self.row_energy is not None and self.row_count is not None
        self.row_energy.index_add_(0, ids.reshape(-1), energy)
        self.row_count.index_add_(0, ids.reshape(-1), (energy > 0).float())


@dataclass(slots=True)
class HessianWalk:
    """Hessians of the parameters in `roles`, all in memory at once: the caller chooses how many."""

    model: nn.Module
    roles: Sequence[ParameterRole]
    with_gradients: bool
    sums: dict[str, HessianSum] = field(default_factory=dict)
    _visits: list[Visit] = field(default_factory=list)

    def run(
        self, batches: Iterable[Batch], seed: int, after_batch: Callable[[], None]
    ) -> dict[str, HessianSum]:
        """Pass all batches through the model. Parameters that no batch reached are absent from the result."""
        generator = torch.Generator().manual_seed(seed)
        distribution: bool | None = None
        with self._hooks(), frozen(self.model):
            for batch in batches:
                if self.with_gradients:
                    if distribution is None:
                        distribution = is_distribution(self.model, batch)
                        self._visits.clear()
                    output = output_of(self.model, batch)
                    random_direction(output, distribution, generator).backward()  # type: ignore[no-untyped-call]
                    del output  # its graph holds the visits, and would until the next one replaces it
                else:
                    with torch.no_grad():
                        output_of(self.model, batch)
                self._absorb(batch)
                self._visits.clear()
                after_batch()
        return self.sums

    @torch.no_grad()
    def _absorb(self, batch: Batch) -> None:
        for visit in self._visits:
            if visit.is_embedding:
                if visit.gradient is not None:
                    self._sum_of(visit.parameter).add_embedding(visit.inputs, visit.gradient)
                continue
            inputs, gradient = _as_sequences(visit.inputs), visit.gradient
            if inputs.shape[:2] == batch.mask.shape:
                inputs = inputs * batch.mask[:, :, None]
            self._sum_of(visit.parameter).add_linear(
                inputs, None if gradient is None else _as_sequences(gradient)
            )

    def _sum_of(self, parameter: str) -> HessianSum:
        if parameter not in self.sums:
            role = next(role for role in self.roles if role.name == parameter)
            found = HessianSum(torch.zeros(role.n_inputs, role.n_inputs))
            if role.kind == "embedding":
                found.row_energy, found.row_count = torch.zeros(role.shape[0]), torch.zeros(role.shape[0])
            self.sums[parameter] = found
        return self.sums[parameter]

    @contextmanager
    def _hooks(self) -> Iterator[None]:
        modules = dict(self.model.named_modules())
        handles = [
            modules[module].register_forward_hook(self._hook(role.name))
            for role in self.roles
            for module in role.modules
        ]
        if self.with_gradients:
            handles += [
                m.register_forward_hook(_require_gradient) for m in modules.values() if _is_embedding(m)
            ]
        try:
            yield
        finally:
            for handle in handles:
                handle.remove()

    def _hook(self, parameter: str) -> Callable[[nn.Module, tuple[torch.Tensor, ...], torch.Tensor], None]:
        def hook(module: nn.Module, inputs: tuple[torch.Tensor, ...], output: torch.Tensor) -> None:
            visit = Visit(parameter, inputs[0].detach(), _is_embedding(module))
            self._visits.append(visit)
            if self.with_gradients:
                _require_gradient(module, inputs, output)
                if output.requires_grad:
                    output.register_hook(visit.set_gradient)  # type: ignore[no-untyped-call]

        return hook


@contextmanager
def frozen(model: nn.Module) -> Iterator[None]:
    """Evaluation mode, and no gradients for the parameters themselves; both restored after."""
    was_training = model.training
    trainable = [parameter for parameter in model.parameters() if parameter.requires_grad]
    for parameter in trainable:
        parameter.requires_grad_(False)
    model.eval()
    try:
        yield
    finally:
        model.train(was_training)
        for parameter in trainable:
            parameter.requires_grad_(True)


def _is_embedding(module: nn.Module) -> bool:
    return module_kind(module) == "embedding"


def _require_gradient(module: nn.Module, inputs: tuple[torch.Tensor, ...], output: torch.Tensor) -> None:
    """Start the graph at embeddings: nothing before them, and no parameter, is differentiable."""
    if torch.is_grad_enabled() and _is_embedding(module) and not output.requires_grad:
        output.requires_grad_(True)


def _as_sequences(values: torch.Tensor) -> torch.Tensor:
    """(sequences, length, n); a matrix counts as one sequence."""
    return values.reshape(-1, *values.shape[-2:]) if values.ndim >= 2 else values.reshape(1, 1, -1)
