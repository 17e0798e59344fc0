"""Linear layers and GPT-2's Conv1D alike: their matrix as (out, in), cut, set or resized."""

from __future__ import annotations

import torch
from torch import nn

from tersor.calibrate.roles import module_kind


def n_outputs(module: nn.Module) -> int:
    """Rows of the matrix (out, in)."""
    return int(_weight(module).shape[1 if _is_transposed(module) else 0])


def n_inputs(module: nn.Module) -> int:
    """Columns of the matrix (out, in)."""
    return int(_weight(module).shape[0 if _is_transposed(module) else 1])


def matrix_of(module: nn.Module) -> torch.Tensor:
    """The matrix (out, in), detached; shares memory with the weight."""
    weight = _weight(module).detach()
    return weight.T if _is_transposed(module) else weight


def bias_of(module: nn.Module) -> torch.Tensor | None:
    """The bias, detached, or None."""
    bias = module.bias
    return bias.detach() if isinstance(bias, torch.Tensor) else None


def set_projection(module: nn.Module, matrix: torch.Tensor, bias: torch.Tensor | None) -> None:
    """Replace the weight by `matrix` (out, in), and the bias; the layer's own sizes follow."""
    stored = matrix.T if _is_transposed(module) else matrix
    module.weight = nn.Parameter(stored.contiguous(), requires_grad=_weight(module).requires_grad)
    if bias is not None:
        module.bias = nn.Parameter(bias.contiguous(), requires_grad=_weight(module).requires_grad)
    rows, columns = matrix.shape
    for name, size in (("out_features", rows), ("nf", rows), ("in_features", columns), ("nx", columns)):
        if hasattr(module, name):
            setattr(module, name, size)


def keep_outputs(module: nn.Module, index: torch.Tensor) -> None:
    """Cut the layer down to some of its outputs."""
    bias = bias_of(module)
    set_projection(module, matrix_of(module)[index], None if bias is None else bias[index])


def keep_inputs(module: nn.Module, index: torch.Tensor) -> None:
    """Cut the layer down to some of its inputs."""
    bias = bias_of(module)
    set_projection(module, matrix_of(module)[:, index], bias)


def resize(module: nn.Module, rows: int, columns: int) -> None:
    """Give the layer another size; its values are then whatever memory holds, to be loaded."""
    bias = bias_of(module)
    weight = _weight(module)
    matrix = torch.empty(rows, columns, dtype=weight.dtype, device=weight.device)
    values = None if bias is None else torch.empty(rows, dtype=bias.dtype, device=bias.device)
    set_projection(module, matrix, values)


def _weight(module: nn.Module) -> torch.Tensor:
    weight = module.weight
    assert isinstance(weight, torch.Tensor), "of a linear layer"
    return weight


def _is_transposed(module: nn.Module) -> bool:
    return module_kind(module) == "conv1d"
