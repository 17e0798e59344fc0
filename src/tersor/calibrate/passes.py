"""One pass of a text through a model, forward and back, adding up what each parameter sees."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial

import torch
from torch import nn

from tersor.calibrate.batches import Batch
from tersor.calibrate.calls import ParameterCalls, is_lookup
from tersor.calibrate.matrices import MatrixSums
from tersor.calibrate.model_inputs import call_model
from tersor.calibrate.objective import Objective
from tersor.calibrate.recompute import recomputed
from tersor.calibrate.roles import ParameterRole
from tersor.calibrate.sums import LinearSums, LookupSums, Middle
from tersor.calibrate.workers import OrderedWorkers

FindMiddle = Callable[[str], Middle | None]


@dataclass(slots=True)
class Visit:
    """One use of a parameter in a forward pass, waiting for the gradient at its output."""

    role: ParameterRole
    part: int
    inputs: torch.Tensor
    gradient: torch.Tensor | None = None


class Pass:
    """A pass over batches.

    roles: parameters to sum for. skip_products: names whose products are left out (a head summed in closed form).
    find_middle: the factors of the pass before, None in the first. plain_share: see `LinearSums`.
    with_gradients: False sums the inputs alone.
    """

    def __init__(
        self,
        model: nn.Module,
        roles: Sequence[ParameterRole],
        objective: Objective,
        matrices: MatrixSums,
        workers: OrderedWorkers,
        *,
        plain_share: float,
        find_middle: FindMiddle,
        skip_products: frozenset[str] = frozenset(),
        with_gradients: bool = True,
        recompute: bool = False,
    ) -> None:
        self._model = model
        self._objective = objective
        self._matrices = matrices
        self._workers = workers
        self._plain_share = plain_share
        self._find_middle = find_middle
        self.skip_products = skip_products
        self._with_gradients = with_gradients
        self._recompute = recompute
        self._roles = {role.name: role for role in roles}
        self._keys = {role.name: f"{number:05d}" for number, role in enumerate(roles)}
        self._calls = ParameterCalls(dict(model.named_parameters()), roles, self._on_call)
        self._waiting: dict[str, list[Visit]] = {}
        self._batch: Batch | None = None
        self.linear: dict[str, LinearSums] = {}
        self.lookups: dict[str, LookupSums] = {}
        self.n_outputs = 0

    def add(self, batch: Batch, seed: int) -> None:
        """Pass one batch through the model. The model is frozen already, torch on one thread."""
        self._batch = batch
        if self._with_gradients:
            generator = torch.Generator().manual_seed(seed)
            with recomputed(self._model, self._calls if self._recompute else None), self._calls:
                self.n_outputs += self._objective.backward(self._model, batch, generator)
        else:
            with torch.no_grad(), self._calls:
                call_model(self._model, batch)
        for visits in self._waiting.values():
            self._finish(visits)
        self._waiting.clear()

    def linear_sums(self, name: str) -> LinearSums:
        """The sums of a parameter's products; zeros at first."""
        if name not in self.linear:
            role = self._roles[name]
            self.linear[name] = LinearSums(role, self._matrices, self._keys[name], self._plain_share)
        return self.linear[name]

    def lookup_sums(self, name: str) -> LookupSums:
        """The sums of an embedding's lookups; zeros at first."""
        if name not in self.lookups:
            self.lookups[name] = LookupSums(self._roles[name], self._matrices, self._keys[name])
        return self.lookups[name]

    def _on_call(
        self, role: ParameterRole, part: int, inputs: torch.Tensor, output: torch.Tensor
    ) -> torch.Tensor:
        lookup = is_lookup(inputs)
        if not lookup and role.name in self.skip_products:
            return output
        if torch.is_grad_enabled():
            if lookup and not output.requires_grad:
                output.requires_grad_(True)  # the graph starts here: no parameter is differentiable
            if not output.requires_grad:
                return output
        elif self._with_gradients or lookup:
            return output  # the first half of a recomputed block
        visit = Visit(role, part, inputs.detach())
        waiting = self._waiting.setdefault(f"{role.name}.{part}.{lookup}", [])
        waiting.append(visit)
        if self._with_gradients:
            output.register_hook(partial(self._arrived, visit, waiting))  # type: ignore[no-untyped-call]
        return output

    def _arrived(self, visit: Visit, waiting: list[Visit], gradient: torch.Tensor) -> None:
        """A parameter's visits are summed once all their gradients are there: dW is the sum over all of them."""
        visit.gradient = gradient.detach()
        if all(other.gradient is not None for other in waiting):
            self._finish(waiting)
            waiting.clear()

    def _finish(self, visits: Sequence[Visit]) -> None:
        """Hand visits to the workers: those with a gradient together, the others as inputs alone."""
        felt = [visit for visit in visits if visit.gradient is not None]
        if not felt and visits and not is_lookup(visits[0].inputs):
            felt = list(visits)
        for group in _stackable(felt):
            self._submit(group)

    def _submit(self, visits: Sequence[Visit]) -> None:
        first, batch = visits[0], self._batch
        assert batch is not None, "visits belong to a batch"
        role = first.role
        n_bytes = sum(
            4 * v.inputs.numel() + (0 if v.gradient is None else 4 * v.gradient.numel()) for v in visits
        )
        if is_lookup(first.inputs):
            lookup = self.lookup_sums(role.name)
            for visit in visits:
                assert visit.gradient is not None, "lookups without gradient are left out"
                self._workers.submit(role.name, partial(lookup.add, visit.inputs, visit.gradient), n_bytes)
            return
        sums = self.linear_sums(role.name)
        job = partial(_add_visits, sums, list(visits), batch.mask, self._find_middle)
        self._workers.submit(role.name, job, n_bytes)


def _add_visits(
    sums: LinearSums, visits: Sequence[Visit], mask: torch.Tensor, find_middle: FindMiddle
) -> None:
    inputs = [_as_sequences(visit.inputs, mask) for visit in visits]
    gradients = [_as_sequences(v.gradient, mask) for v in visits if v.gradient is not None]
    fits = inputs[0].shape[:2] == mask.shape
    joined = torch.cat(inputs, dim=1) if len(inputs) > 1 else inputs[0]
    sums.add(
        joined,
        (torch.cat(gradients, dim=1) if len(gradients) > 1 else gradients[0]) if gradients else None,
        mask.repeat(1, len(inputs)) if fits else None,
        visits[0].part,
        find_middle(sums.role.name) if gradients else None,
    )


def _stackable(visits: Sequence[Visit]) -> list[list[Visit]]:
    """Visits in groups of equal shape: each group's inputs can be laid end to end."""
    groups: dict[tuple[int, ...], list[Visit]] = {}
    for visit in visits:
        groups.setdefault(tuple(visit.inputs.shape), []).append(visit)
    return list(groups.values())


def _as_sequences(values: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
    """(sequences, length, n). A matrix with a row per token or per sequence is split so; another is one sequence,
    which keeps sums unbiased: gradients of different sequences are independent."""
    if values.ndim == 1:
        return values.reshape(1, 1, -1)
    if values.ndim == 2 and len(values) in (mask.numel(), len(mask)):
        return values.reshape(len(mask), -1, values.shape[-1])
    return values.reshape(-1, *values.shape[-2:])
