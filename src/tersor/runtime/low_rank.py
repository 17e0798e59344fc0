"""Linear layers that compute with the two factors of a low-rank weight instead of their product."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import nn
from torch.nn import functional

from tersor.errors import UsageError

if TYPE_CHECKING:
    # hf.py imports this whenever transformers is imported: nothing here may load the readers of archives.
    from tersor.layouts.low_rank import Factors

# Two products are worth it up to so many of the multiplications of one. Time over that of the plain layer, by share of
# the multiplications, for 1 / 32 / 256 tokens: 384 x 384, 1.10: 1.32 / 1.14 / 1.14, .81: 1.01 / .89 / .87, .58: .81 /
# .61 / .60; 3072 x 768, .94: .96 / .97 / .99, .74: .70 / .74 / .76, .55: .56 / .57 / .56.
WORTH_IT = 0.9

_KEEPS_FACTORS: ContextVar[bool] = ContextVar("tersor_keeps_factors", default=False)


@contextmanager
def keeping_factors() -> Iterator[None]:
    """Models loaded inside get `LowRankLinear` modules where their archive holds factors."""
    token = _KEEPS_FACTORS.set(True)
    try:
        yield
    finally:
        _KEEPS_FACTORS.reset(token)


def keeps_factors() -> bool:
    """Whether the model that is being loaded shall compute with factors."""
    return _KEEPS_FACTORS.get()


class LowRankLinear(nn.Module):
    """x -> (x right') left' + bias, plus x residual' if there is a residual: two thin products in place of one.

    left: (out, rank), right: (rank, in), residual: (out, in); parameters, so they can be trained and moved.
    is_transposed: whether the weight that this stands for is (in, out), as GPT-2's Conv1D has it.
    `weight` is the product, and so is what `state_dict` holds under that name: `save_pretrained` writes a plain
    checkpoint. A state dict of the plain weight cannot be loaded into this module.
    """

    residual: nn.Parameter | None
    bias: nn.Parameter | None

    def __init__(
        self,
        left: torch.Tensor,
        right: torch.Tensor,
        bias: nn.Parameter | None = None,
        residual: torch.Tensor | None = None,
        *,
        is_transposed: bool = False,
    ) -> None:
        super().__init__()
        self.left, self.right = nn.Parameter(left), nn.Parameter(right)
        self.register_parameter("residual", None if residual is None else nn.Parameter(residual))
        self.register_parameter("bias", bias)
        self.out_features, self.rank = left.shape
        self.in_features = right.shape[1]
        self.is_transposed = is_transposed

    def forward(self, inputs: torch.Tensor) -> torch.Tensor:
        outputs = functional.linear(functional.linear(inputs, self.right), self.left, self.bias)
        return outputs if self.residual is None else outputs + functional.linear(inputs, self.residual)

    @property
    def weight(self) -> torch.Tensor:
        """The plain weight, computed anew each time."""
        product = self.left @ self.right
        if self.residual is not None:
            product = product + self.residual
        return product.T.contiguous() if self.is_transposed else product

    def extra_repr(self) -> str:
        return f"in_features={self.in_features}, out_features={self.out_features}, rank={self.rank}"

    def _save_to_state_dict(self, destination: dict[str, Any], prefix: str, keep_vars: bool) -> None:
        parts = {"weight": self.weight, "bias": self.bias}
        for name, part in parts.items():
            if part is not None:
                destination[prefix + name] = part if keep_vars else part.detach()

    def _load_from_state_dict(self, state_dict: Any, prefix: str, *_: Any) -> None:
        raise UsageError(
            f"{prefix}weight: this module holds the factors of its weight and cannot take a plain one; "
            "load the state dict into a model that was loaded with factors=False"
        )


def use_factors(model: nn.Module, parameter: str, factors: Factors) -> bool:
    """Put a LowRankLinear in the place of the layer whose weight is `parameter`; return whether that was done.

    It is for linear layers (nn.Linear, transformers' Conv1D) whose weight no other module shares, and whose rank is so
    low that two products are faster than one; a residual is a product more, whatever the rank.
    """
    path, _, name = parameter.rpartition(".")
    layer = model.get_submodule(path)
    if name != "weight" or not path or not _is_linear(layer) or _is_shared(model, parameter):
        return False
    weight: torch.Tensor = layer.weight  # type: ignore[assignment]
    if factors.rank * sum(weight.shape) >= WORTH_IT * weight.numel():
        return False
    is_conv1d = type(layer) is not nn.Linear
    # Pivots put back in their place: to copy them from one product into the other takes longer than to multiply by an
    # identity (a layer of 1536 x 384 at rank 168, 32 tokens: .54 and .55 of the plain layer; 1 token: .74 and .65).
    left, right, residual = factors.whole_left(), factors.right, factors.residual
    if factors.transposed != is_conv1d:  # the product is (in, out): its transpose is right' left'
        left, right = right.T, left.T
        residual = None if residual is None else residual.T
    new = LowRankLinear(
        _like(weight, left),
        _like(weight, right),
        layer.bias,  # type: ignore[arg-type]
        None if residual is None else _like(weight, residual),
        is_transposed=is_conv1d,
    )
    new.train(layer.training)
    parent, _, own_name = path.rpartition(".")
    setattr(model.get_submodule(parent), own_name, new)
    return True


def _is_linear(layer: nn.Module) -> bool:
    # Not their subclasses: those may use the weight in ways of their own, as the projection of MultiheadAttention does.
    return type(layer) is nn.Linear or (type(layer).__qualname__ == "Conv1D" and hasattr(layer, "nf"))


def _is_shared(model: nn.Module, parameter: str) -> bool:
    weight = model.get_parameter(parameter)
    return sum(one is weight for _, one in model.named_parameters(remove_duplicate=False)) > 1


def _like(weight: torch.Tensor, array: np.ndarray) -> torch.Tensor:
    return torch.from_numpy(np.array(array, np.float32)).to(device=weight.device, dtype=weight.dtype)
