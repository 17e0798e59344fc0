"""How far the output moves when one tensor is perturbed as rounding would."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from statistics import median

import numpy as np
import torch
from torch import nn

from tersor.calibrate.batches import Batch
from tersor.calibrate.hessians import frozen
from tersor.calibrate.objective import distances, is_distribution, output_of
from tersor.calibrate.roles import ParameterRole
from tersor.calibrate.statistics import Statistics
from tersor.quant.base import TensorStatistics

# Step of the probe in units of the codes' rms: about what 3 bits per weight use.
PROBE_STEP = 0.5
# More tensors than this are probed in groups: the same layer type in a sixth of the depth.
MAX_SINGLE_PROBES = 64
N_DEPTHS = 6
# A tensor that the probe does not feel (a pooler that the embedding does not use) is not given up on.
FLOOR = 0.05
_CHUNK_ROWS = 2048


def base_steps(
    model: nn.Module,
    roles: Sequence[ParameterRole],
    statistics: Statistics,
    batches: Sequence[Batch],
    seed: int,
    after_probe: Callable[[], None],
) -> dict[str, float]:
    """A step per parameter such that rounding with delta times these costs delta^2 per weight, in every tensor.

    The error of a tensor of n weights rounded with step d is s n d^2; s is measured, and the step is s^-1/2, which
    minimises the total error for a given total rate. Scaled so that at delta = 1 a typical tensor's codes have rms 1.
    """
    if not roles:
        return {}
    parameters = dict(model.named_parameters())
    with torch.no_grad(), frozen(model):
        distribution = is_distribution(model, batches[0])
        reference = [output_of(model, batch) for batch in batches]
        scales = {role.name: code_scale(role, parameters[role.name], statistics) for role in roles}
        errors: dict[str, tuple[float, int]] = {}
        for group in probe_groups(roles):
            noise = {role.name: PROBE_STEP * scales[role.name] for role in group}
            with perturbed(parameters, group, noise, statistics, seed):
                error = _mean_distance(model, batches, reference, distribution)
            size = sum(parameters[role.name].numel() for role in group)
            errors.update({role.name: (error, size) for role in group})
            after_probe()
    floor = max(FLOOR * median(error for error, _ in errors.values()), 1e-12)
    steps = {
        name: _step(max(error, floor), size, PROBE_STEP * scales[name])
        for name, (error, size) in errors.items()
    }
    typical = median(steps[name] / scales[name] for name in steps)
    return {name: step / typical for name, step in steps.items()}


def probe_groups(roles: Sequence[ParameterRole]) -> list[list[ParameterRole]]:
    """Parameters to perturb together: each alone, or, if there are many, by layer type and depth."""
    if len(roles) <= MAX_SINGLE_PROBES:
        return [[role] for role in roles]
    depth = 1 + max((_layer_of(role.name) for role in roles), default=0)
    groups: dict[tuple[str, int], list[ParameterRole]] = {}
    for role in roles:
        key = re.sub(r"\d+", "#", role.name), _layer_of(role.name) * N_DEPTHS // depth
        groups.setdefault(key, []).append(role)
    return list(groups.values())


def code_scale(role: ParameterRole, parameter: torch.Tensor, statistics: Statistics) -> float:
    """Root mean square of weight / (row step * column step) for a step of 1: the step at which codes have rms 1."""
    rows, columns = _unit_steps(statistics.of(role.name), role, parameter)
    total = 0.0
    for chunk, part in _chunks(_matrix(parameter, role)):
        scaled = part.detach().float() / rows[chunk, None] / columns
        total += float(scaled.square().sum(dtype=torch.float64))
    return max(float((total / max(1, parameter.numel())) ** 0.5), 1e-20)


@contextmanager
def perturbed(
    parameters: Mapping[str, nn.Parameter],
    group: Iterable[ParameterRole],
    steps: Mapping[str, float],
    statistics: Statistics,
    seed: int,
) -> Iterator[None]:
    """Inside, the group's parameters carry the error that rounding with feedback leaves: row step * uniform * U."""
    saved: dict[str, Path] = {}
    try:
        for role in group:
            parameter = parameters[role.name]
            # On disk, not in memory: a word embedding is half of a small model.
            path = statistics.spool / f"saved-{len(saved):05d}.bin"
            path.write_bytes(_bytes_of(parameter))
            saved[role.name] = path
            _add_noise(parameter, role, statistics.of(role.name), steps[role.name], seed)
        yield
    finally:
        for name, path in saved.items():
            with path.open("rb", buffering=0) as file:
                file.readinto(_bytes_of(parameters[name]))
            path.unlink()


def _bytes_of(parameter: nn.Parameter) -> memoryview:
    """The parameter's own memory."""
    return parameter.detach().view(-1).view(torch.uint8).numpy().data


def _add_noise(
    parameter: torch.Tensor, role: ParameterRole, known: TensorStatistics, step: float, seed: int
) -> None:
    generator = torch.Generator().manual_seed(seed)
    rows, _ = _unit_steps(known, role, parameter)
    factor = None if known.factor is None else torch.from_numpy(np.array(known.factor))
    for chunk, part in _chunks(_matrix(parameter, role)):
        noise = torch.rand(part.shape, generator=generator) - 0.5
        if factor is not None:
            noise = noise @ factor
        part.add_((noise * (rows[chunk, None] * step)).to(part.dtype))


def _unit_steps(
    known: TensorStatistics, role: ParameterRole, parameter: torch.Tensor
) -> tuple[torch.Tensor, torch.Tensor]:
    """Row and column steps for a step of 1, float32."""
    n_rows, n_columns = _matrix(parameter, role).shape
    rows = np.ones(n_rows) if known.row_weights is None else known.row_weights.astype(np.float64) ** -0.5
    columns = np.ones(n_columns) if known.factor is None else np.array(np.diagonal(known.factor))
    return torch.from_numpy(rows.astype(np.float32)), torch.from_numpy(columns.astype(np.float32))


def _matrix(parameter: torch.Tensor, role: ParameterRole) -> torch.Tensor:
    """The parameter's data as (rows, columns), a view."""
    flat = parameter.detach().reshape(-1, parameter.shape[-1])
    return flat.T if role.is_transposed else flat


def _chunks(matrix: torch.Tensor) -> Iterator[tuple[slice, torch.Tensor]]:
    for start in range(0, len(matrix), _CHUNK_ROWS):
        chunk = slice(start, min(start + _CHUNK_ROWS, len(matrix)))
        yield chunk, matrix[chunk]


def _mean_distance(
    model: nn.Module, batches: Sequence[Batch], reference: Sequence[torch.Tensor], distribution: bool
) -> float:
    rows = [
        distances(before, output_of(model, batch), distribution)
        for batch, before in zip(batches, reference, strict=True)
    ]
    return float(torch.cat(rows).mean())


def _step(error: float, size: int, probe_step: float) -> float:
    return float((error / (size * probe_step**2)) ** -0.5)


def _layer_of(name: str) -> int:
    """The first number in a parameter's name, 0 if it has none."""
    found = re.search(r"\d+", name)
    return int(found.group()) if found else 0
