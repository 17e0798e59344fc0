"""How far the output moves when one tensor is perturbed as rounding would."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from statistics import median

import numpy as np
import torch
from torch import nn

from tersor.calibrate.batches import Batch
from tersor.calibrate.model_inputs import frozen
from tersor.calibrate.noise import code_scale, noisy_calls, perturbed, rounding_noise
from tersor.calibrate.objective import Objective
from tersor.calibrate.roles import ParameterRole
from tersor.calibrate.statistics import Statistics
from tersor.calibrate.text import CalibrationText
from tersor.calibrate.workers import OrderedWorkers

# The summed predicted error of all tensors: about that of 3 bits per weight.
PROBE_ERROR = 0.02
# Step of a probe without prediction, and the largest of all, in units of the codes' rms.
PROBE_STEP = 0.5
MAX_PROBE_STEP = 1.0
# Measured over predicted error beyond these is noise of the probe (decoder prototype).
RATIO_RANGE = 0.03, 30.0
# More tensors than this are probed in groups: the same layer type in a sixth of the depth.
MAX_SINGLE_PROBES = 64
N_DEPTHS = 6
# A tensor that the probe does not feel (a pooler that the embedding does not use) is not given up on: its error at
# codes of rms 1 counts as this share of the median's.
FLOOR = 0.05
# The error of an embedding on other text, over that on sequences held out of the calibration text: 1 + this times the
# share of tokens that occur once (Good-Turing's estimate of unseen ones, which have the coarsest rows). Measured once:
# MiniLM, WikiText validation to test, against the same ratio of its linear layers: 1.65 at a share of .135.
UNSEEN_WEIGHT = 4.8
MAX_UNSEEN_SHARE = 0.15


@dataclass(slots=True)
class Sensitivities:
    """errors: s_t of `Statistics.errors`. scales: the step at which a tensor's codes have rms 1."""

    errors: dict[str, float] = field(default_factory=dict)
    scales: dict[str, float] = field(default_factory=dict)

    def base_steps(self) -> dict[str, float]:
        """s_t**-0.5, scaled so that at a global step of 1 a typical tensor's codes have rms 1."""
        steps = {name: error**-0.5 for name, error in self.errors.items()}
        typical = median(steps[name] / self.scales[name] for name in steps) if steps else 1.0
        return {name: step / typical for name, step in steps.items()}


@dataclass(frozen=True, slots=True)
class Probe:
    """Measures tensors of one model on one text.

    predicted: s_t that the factors predict, |dW|^2 / 2 n_t per output; absent or 0 where they say nothing.
    """

    model: nn.Module
    objective: Objective
    batches: Sequence[Batch]
    statistics: Statistics
    predicted: Mapping[str, float]
    seed: int

    def measure(
        self, roles: Sequence[ParameterRole], workers: OrderedWorkers, after_probe: Callable[[], None]
    ) -> Sensitivities:
        """Sensitivities of all roles; the same for any number of workers."""
        found = Sensitivities()
        if not roles:
            return found
        parameters = dict(self.model.named_parameters())
        with torch.no_grad(), frozen(self.model):
            reference = [self.objective.outputs(self.model, batch) for batch in self.batches]
            for role in roles:
                known = self.statistics.of(role.name)
                found.scales[role.name] = code_scale(role, parameters[role.name], known)
            steps = self._steps(roles, found.scales)
            groups = probe_groups(roles, self.predicted)
            measured: dict[int, float] = {}
            for number, group in enumerate(groups):
                job = partial(self._measure_group, group, steps, parameters, reference, measured, number)
                if group[0].kind == "other":
                    workers.finish()  # this one changes the parameter that all threads read
                    job()
                    after_probe()
                else:
                    workers.submit(f"probe {number}", partial(_both, job, after_probe))
            workers.finish()
        for number, group in enumerate(groups):
            found.errors.update(self._errors(group, steps, measured[number]))
        _raise_to_floor(found)
        return found

    def _steps(self, roles: Sequence[ParameterRole], scales: Mapping[str, float]) -> dict[str, float]:
        """Steps that share PROBE_ERROR over the weights, as predicted."""
        n_weights = sum(role.n_weights for role in roles)
        share = (12 * PROBE_ERROR / n_weights) ** 0.5
        steps = {}
        for role in roles:
            predicted, scale = self.predicted.get(role.name, 0.0), scales[role.name]
            steps[role.name] = (
                min(share * predicted**-0.5, MAX_PROBE_STEP * scale) if predicted > 0 else PROBE_STEP * scale
            )
        return steps

    def _measure_group(
        self,
        group: Sequence[ParameterRole],
        steps: Mapping[str, float],
        parameters: Mapping[str, nn.Parameter],
        reference: Sequence[torch.Tensor],
        measured: dict[int, float],
        number: int,
    ) -> None:
        with torch.no_grad():
            ids = torch.unique(torch.cat([batch.ids.reshape(-1) for batch in self.batches]))
            noise, rows = {}, None
            for role in group:
                if role.kind == "embedding" and role.is_vocabulary and len(role.modules) == 1:
                    rows = ids
                known = self.statistics.of(role.name)
                noise[role.name] = rounding_noise(role, known, steps[role.name], self.seed, rows)
            if group[0].kind == "other":
                (role,) = group
                with perturbed(parameters[role.name], noise[role.name], self.statistics.spool):
                    measured[number] = self._distance(reference)
            else:
                with noisy_calls(parameters, group, noise, rows):
                    measured[number] = self._distance(reference)

    def _distance(self, reference: Sequence[torch.Tensor]) -> float:
        found = [
            self.objective.distances(before, self.objective.outputs(self.model, batch))
            for batch, before in zip(self.batches, reference, strict=True)
        ]
        return float(torch.cat(found).mean())

    def _errors(
        self, group: Sequence[ParameterRole], steps: Mapping[str, float], measured: float
    ) -> dict[str, float]:
        expected = sum(
            self.predicted.get(role.name, 0.0) * role.n_weights * steps[role.name] ** 2 / 12 for role in group
        )
        if expected > 0:
            ratio = min(max(measured / expected, RATIO_RANGE[0]), RATIO_RANGE[1])
            return {role.name: self.predicted[role.name] * ratio for role in group}
        share = measured / sum(role.n_weights * steps[role.name] ** 2 / 12 for role in group)
        return {role.name: max(share, 0.0) for role in group}


def probe_groups(roles: Sequence[ParameterRole], predicted: Mapping[str, float]) -> list[list[ParameterRole]]:
    """Parameters to perturb together: each alone, or, if there are many, by layer type and depth."""
    if len(roles) <= MAX_SINGLE_PROBES:
        return [[role] for role in roles]
    depth = 1 + max((_layer_of(role.name) for role in roles), default=0)
    groups: dict[tuple[object, ...], list[ParameterRole]] = {}
    for role in roles:
        place = role.name if role.kind == "other" else _layer_of(role.name) * N_DEPTHS // depth
        key = re.sub(r"\d+", "#", role.name), place, predicted.get(role.name, 0.0) > 0
        groups.setdefault(key, []).append(role)
    return list(groups.values())


def expect_unseen(measured: Sensitivities, roles: Iterable[ParameterRole], text: CalibrationText) -> None:
    """Raise the errors of token embeddings (not of tied ones, which are heads too) to what other text will show."""
    ids = np.fromiter((token for sequence in text.sequences for token in sequence), np.int64)
    share = min(MAX_UNSEEN_SHARE, float((np.bincount(ids) == 1).sum() / len(ids)))
    for role in roles:
        is_lookup = role.kind == "embedding" and role.is_vocabulary and len(role.modules) == 1
        if is_lookup and role.name in measured.errors:
            measured.errors[role.name] *= 1 + UNSEEN_WEIGHT * share


def _raise_to_floor(found: Sensitivities) -> None:
    """Errors at codes of rms 1 are at least FLOOR times the median's."""
    at_scale = {name: error * found.scales[name] ** 2 for name, error in found.errors.items()}
    floor = max(FLOOR * median(at_scale.values()), 1e-30)
    for name, error in at_scale.items():
        if error < floor:
            found.errors[name] = floor / found.scales[name] ** 2


def _both(job: Callable[[], None], after: Callable[[], None]) -> None:
    job()
    after()


def _layer_of(name: str) -> int:
    """The first number in a parameter's name, 0 if it has none."""
    found = re.search(r"\d+", name)
    return int(found.group()) if found else 0
