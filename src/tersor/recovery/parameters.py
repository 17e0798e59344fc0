"""The tensors of a plan as parameters of the loaded model: shapes, names, and values that replace them."""

from __future__ import annotations

import numpy as np
import torch
from torch import nn

from tersor.layouts.grid import Grid
from tersor.planner.plan import Plan, TensorPlan


class PlannedParameters:
    """The quantized tensors of a plan by their names in the model."""

    def __init__(self, model: nn.Module, plan: Plan) -> None:
        self._parameters = dict(model.named_parameters())
        self.tensors = {
            tensor.parameter: tensor
            for tensor in plan.tensors
            if tensor.is_quantized and tensor.parameter is not None
        }

    def names_under(self, prefix: str) -> list[str]:
        """The planned parameters of a module, in the model's order."""
        return [name for name in self._parameters if name in self.tensors and name.startswith(prefix)]

    def array(self, name: str) -> np.ndarray:
        """A copy of a parameter's values, float32, in its own shape."""
        return np.array(self._parameters[name].detach().float().numpy())

    def set(self, name: str, values: np.ndarray) -> None:
        """Replace a parameter's values."""
        parameter = self._parameters[name]
        with torch.no_grad():
            parameter.copy_(torch.from_numpy(values).reshape(parameter.shape))


def dense_of(grid: Grid, tensor: TensorPlan) -> np.ndarray:
    """The values that a grid stands for, float32, in the tensor's own shape."""
    matrix = grid.to_dense()
    return np.ascontiguousarray(matrix.T if tensor.is_transposed else matrix).reshape(tensor.spec.shape)


def as_matrix(values: np.ndarray, tensor: TensorPlan) -> torch.Tensor:
    """A linear layer's values as the matrix (out, in), float32."""
    return torch.from_numpy(values.T if tensor.is_transposed else values).float()


def from_matrix(matrix: torch.Tensor, tensor: TensorPlan) -> np.ndarray:
    """The inverse of `as_matrix`, contiguous."""
    return np.ascontiguousarray(matrix.T.numpy() if tensor.is_transposed else matrix.numpy())
