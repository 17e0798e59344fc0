"""What is summed for each parameter while text passes through the model."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
import torch

from tersor.calibrate.matrices import MatrixSums
from tersor.calibrate.roles import ParameterRole

# Share of the plain input Hessian in the mix; end-to-end gradients alone are noisy with few tokens.
PLAIN_SHARE = 0.2
PLAIN_SHARE_OF_DECODERS = 0.1
# Wider outputs (heads over a vocabulary) get row weights instead of an output Hessian, wider inputs no Hessian.
MAX_WIDTH = 16384


@dataclass(frozen=True, slots=True)
class Middle:
    """The factors of an earlier pass, of mean diagonal 1: what the power iteration puts in the middle."""

    input: torch.Tensor
    output: torch.Tensor


@dataclass(slots=True)
class LinearSums:
    """Sums over sequences b with dW_b = sum over tokens of g x' (inputs x, gradients g of the outputs).

    matrices["NAME.input"]: sum of dW'dW + plain_scale * sum of xx'; with `middle` sum of dW' G0 dW.
    matrices["NAME.output"]: sum of dW dW'; with `middle` sum of dW H0 dW'. Absent for stacks and MAX_WIDTH and wider.
    energy: sum of |dW|^2. row_energy: (parts, rows), the diagonal of the output sum where that is absent, else None.
    magnitudes: sum of |x|, (columns,). n_tokens: of this sum. tokens_of_part: the same per part of a stack.
    plain_scale is fixed by the first use so that the plain part has `plain_share` of the trace.
    """

    role: ParameterRole
    matrices: MatrixSums
    key: str
    plain_share: float
    energy: float = 0.0
    n_tokens: int = 0
    plain_scale: float | None = None
    magnitudes: torch.Tensor = field(init=False)
    row_energy: torch.Tensor | None = None
    tokens_of_part: torch.Tensor | None = None

    def __post_init__(self) -> None:
        self.magnitudes = torch.zeros(self.role.n_inputs)
        rows = self.role.n_outputs
        if self.role.kind == "experts":
            self.row_energy = torch.zeros(self.role.shape[0], rows)
            self.tokens_of_part = torch.zeros(self.role.shape[0])
        elif rows > MAX_WIDTH or self.role.kind == "embedding":
            self.row_energy = torch.zeros(1, rows)

    def add(
        self,
        inputs: torch.Tensor,
        gradient: torch.Tensor | None,
        mask: torch.Tensor | None,
        part: int = 0,
        middle: Middle | None = None,
    ) -> None:
        """inputs: (sequences, length, columns). gradient: (sequences, length, rows), zero at padding, or None.
        mask: (sequences, length), True on tokens; None: all are."""
        inputs = inputs.float()
        tokens = inputs if mask is None else inputs * mask[:, :, None]
        self.magnitudes += tokens.abs().sum(dim=(0, 1))
        n_tokens = inputs.shape[0] * inputs.shape[1] if mask is None else int(mask.sum())
        self.n_tokens += n_tokens
        if self.tokens_of_part is not None:
            self.tokens_of_part[part] += n_tokens
        if gradient is None:
            self._add_inputs(tokens, tokens)
        else:
            self._add_gradient(tokens, gradient.float(), part, middle)

    def _add_gradient(
        self, tokens: torch.Tensor, gradient: torch.Tensor, part: int, middle: Middle | None
    ) -> None:
        outputs_gram = gradient @ gradient.transpose(1, 2)  # (sequences, length, length)
        inputs_gram = tokens @ tokens.transpose(1, 2)
        self.energy += float((outputs_gram * inputs_gram).sum(dtype=torch.float64))
        if middle is not None:
            outputs_gram = (gradient @ middle.output) @ gradient.transpose(1, 2)
            inputs_gram = (tokens @ middle.input) @ tokens.transpose(1, 2)
        weighted = outputs_gram @ tokens  # (sequences, length, columns)
        if self.plain_scale is None:
            traces = float((tokens * weighted).sum()), float(tokens.square().sum())
            self.plain_scale = self.plain_share / (1 - self.plain_share) * traces[0] / max(traces[1], 1e-30)
        self._add_inputs(tokens, weighted.add_(tokens, alpha=self.plain_scale))
        weighted = inputs_gram @ gradient  # (sequences, length, rows)
        if self.row_energy is not None:
            self.row_energy[part] += (gradient * weighted).sum(dim=(0, 1))
        else:
            self._add_product("output", gradient, weighted)

    def _add_inputs(self, tokens: torch.Tensor, weighted: torch.Tensor) -> None:
        if self.role.n_inputs <= MAX_WIDTH:
            self._add_product("input", tokens, weighted)

    def _add_product(self, side: str, left: torch.Tensor, right: torch.Tensor) -> None:
        n = left.shape[-1]
        flat = left.reshape(-1, n), right.reshape(-1, n)
        self.matrices.update(f"{self.key}.{side}", n, lambda total: total.addmm_(flat[0].T, flat[1]))


@dataclass(slots=True)
class LookupSums:
    """Sums over uses of an embedding's rows, with gradients g at its output.

    matrices["NAME.lookup"]: sum over uses of gg'. row_energy: (rows,) sum over sequences of |sum over uses of g|^2.
    row_count: (rows,) uses.
    """

    role: ParameterRole
    matrices: MatrixSums
    key: str
    row_energy: torch.Tensor = field(init=False)
    row_count: torch.Tensor = field(init=False)

    def __post_init__(self) -> None:
        self.row_energy, self.row_count = torch.zeros(self.role.shape[0]), torch.zeros(self.role.shape[0])

    def add(self, ids: torch.Tensor, gradient: torch.Tensor) -> None:
        """ids: (sequences, length), int64; gradient: ids' shape + (columns,), zero at padding."""
        width = gradient.shape[-1]
        flat = gradient.float().reshape(-1, width)
        self.matrices.update(f"{self.key}.lookup", width, lambda total: total.addmm_(flat.T, flat))
        ids = ids.expand(gradient.shape[:-1]).reshape(-1, ids.shape[-1])
        sequences = torch.arange(len(ids))[:, None] * len(self.row_energy)
        used, where = torch.unique(ids + sequences, return_inverse=True)
        per_use = torch.zeros(len(used), width).index_add_(0, where.reshape(-1), flat)
        rows = used % len(self.row_energy)
        self.row_energy.index_add_(0, rows, per_use.square().sum(dim=1))
        is_used = (flat != 0).any(dim=1).float()
        self.row_count.index_add_(0, ids.reshape(-1), is_used)

    @property
    def energy(self) -> float:
        return float(self.row_energy.sum(dtype=torch.float64))


def middle_of(input_sum: np.ndarray, output_sum: np.ndarray) -> Middle:
    """Both sums scaled to mean diagonal 1."""
    scaled = (torch.from_numpy(m / max(float(np.diagonal(m).mean()), 1e-30)) for m in (input_sum, output_sum))
    return Middle(*scaled)
