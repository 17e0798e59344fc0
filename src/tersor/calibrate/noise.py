"""The error that rounding leaves, drawn at random, and a model that carries it without being changed."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import torch
from torch import nn
from torch.nn import functional

from tersor.calibrate.calls import ParameterCalls, is_lookup
from tersor.calibrate.roles import ParameterRole
from tersor.quant.base import TensorStatistics

_CHUNK_ROWS = 2048


def rounding_noise(
    role: ParameterRole, known: TensorStatistics, step: float, seed: int, rows: torch.Tensor | None = None
) -> torch.Tensor:
    """step * L N U for uniform N of variance 1/12, float32 (rows, columns): what rounding with feedback leaves.

    L is `known.row_factor`, else the diagonal of row steps, else 1. rows: draw these rows alone; needs no row factor.
    """
    n_rows, n_columns = matrix_shape(role)
    n_drawn = n_rows if rows is None else len(rows)
    generator = torch.Generator().manual_seed(seed)
    factor = None if known.factor is None else torch.tensor(np.asarray(known.factor))
    noise = torch.empty(n_drawn, n_columns)
    for start in range(0, n_drawn, _CHUNK_ROWS):
        part = torch.rand(min(_CHUNK_ROWS, n_drawn - start), n_columns, generator=generator).sub_(0.5)
        noise[start : start + _CHUNK_ROWS] = part if factor is None else part @ factor
    if known.row_factor is not None:
        assert rows is None, "row feedback mixes all rows"
        return step * (torch.tensor(np.asarray(known.row_factor)) @ noise)
    row_steps = unit_steps(role, known)[0]
    return noise.mul_(step * (row_steps if rows is None else row_steps[rows])[:, None])


def unit_steps(role: ParameterRole, known: TensorStatistics) -> tuple[torch.Tensor, torch.Tensor]:
    """Row and column steps for a step of 1, float32."""
    n_rows, n_columns = matrix_shape(role)
    if known.row_factor is not None:
        rows = np.array(np.diagonal(known.row_factor))
    else:
        rows = np.ones(n_rows) if known.row_weights is None else known.row_weights.astype(np.float64) ** -0.5
    columns = np.ones(n_columns) if known.factor is None else np.array(np.diagonal(known.factor))
    return torch.from_numpy(rows.astype(np.float32)), torch.from_numpy(columns.astype(np.float32))


def code_scale(role: ParameterRole, parameter: torch.Tensor, known: TensorStatistics) -> float:
    """Root mean square of weight / (row step * column step) for a step of 1: the step at which codes have rms 1."""
    rows, columns = unit_steps(role, known)
    matrix = matrix_view(role, parameter)
    total = 0.0
    for start in range(0, len(matrix), _CHUNK_ROWS):
        chunk = slice(start, start + _CHUNK_ROWS)
        scaled = matrix[chunk].float() / rows[chunk, None] / columns
        total += float(scaled.square().sum(dtype=torch.float64))
    return max(float((total / max(1, parameter.numel())) ** 0.5), 1e-20)


def matrix_shape(role: ParameterRole) -> tuple[int, int]:
    """Of the matrix that quantizers see: a stack's matrices lie on top of each other."""
    return role.n_weights // max(1, role.n_inputs), role.n_inputs


def matrix_view(role: ParameterRole, parameter: torch.Tensor) -> torch.Tensor:
    """The parameter's data as (rows, columns), a view."""
    flat = parameter.detach().reshape(-1, parameter.shape[-1])
    return flat.T if role.is_transposed else flat


def noisy_calls(
    parameters: Mapping[str, nn.Parameter],
    roles: Sequence[ParameterRole],
    noise: Mapping[str, torch.Tensor],
    drawn_rows: torch.Tensor | None,
) -> ParameterCalls:
    """Inside, in this thread, the model computes as if `noise` were added to its parameters.

    drawn_rows: sorted ids whose rows the noise of an embedding has; None: all.
    """

    def add_noise(role: ParameterRole, part: int, inputs: torch.Tensor, output: torch.Tensor) -> torch.Tensor:
        found = noise[role.name]
        if is_lookup(inputs):
            places = inputs if len(found) == role.shape[0] else torch.searchsorted(drawn_rows, inputs)  # type: ignore[arg-type]
            return output + found[places].to(output.dtype)
        if role.kind == "experts":
            found = found.reshape(role.shape)[part]
        return output + functional.linear(inputs.float(), found).to(output.dtype)

    return ParameterCalls(parameters, roles, add_noise)


@contextmanager
def perturbed(parameter: nn.Parameter, noise: torch.Tensor, spool: Path) -> Iterator[None]:
    """Inside, the parameter itself carries the noise: for those whose use is not seen. Restored to the last bit."""
    path = spool / "saved.bin"  # on disk, not in memory
    path.write_bytes(_bytes_of(parameter))
    try:
        parameter.detach().add_(noise.reshape(parameter.shape).to(parameter.dtype))
        yield
    finally:
        with path.open("rb", buffering=0) as file:
            file.readinto(_bytes_of(parameter))
        path.unlink()


def _bytes_of(parameter: nn.Parameter) -> memoryview:
    """The parameter's own memory."""
    return parameter.detach().view(-1).view(torch.uint8).numpy().data
