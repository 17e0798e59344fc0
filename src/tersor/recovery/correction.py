"""The change of a linear layer's weight that makes up for what its changed input does to its output."""

from __future__ import annotations

from dataclasses import dataclass, field

import torch

from tersor.calibrate.workers import OrderedWorkers
from tersor.recovery.stages import Point

# Of the mean diagonal of the input's second moments, and the share of the solution that is applied: more of it fits
# the calibration text at the cost of the error feedback, which expects the original weight.
RIDGE = 0.1
SHARE = 0.6


@dataclass(slots=True)
class DriftSums:
    """Sums over tokens of what a stage sees: x of the quantized model so far, x' of the original.

    second: [x, 1]'[x, 1]. drift: (x' - x)'[x, 1]. residual: the same of the hidden states that outputs are added to.
    """

    second: torch.Tensor
    drift: torch.Tensor
    residual: dict[Point, torch.Tensor] = field(default_factory=dict)

    @classmethod
    def zeros(cls, width: int) -> DriftSums:
        return cls(torch.zeros(width + 1, width + 1), torch.zeros(width, width + 1))

    @property
    def n_tokens(self) -> float:
        return float(self.second[-1, -1])

    def add(
        self,
        workers: OrderedWorkers,
        quantized: torch.Tensor,
        original: torch.Tensor,
        residual_drift: dict[Point, torch.Tensor],
    ) -> None:
        """Add tokens: all are (tokens, width); residual_drift: the original's hidden states minus the quantized's.

        The sums are complete after `workers.finish()`, and the same for any number of workers.
        """
        inputs = torch.cat([quantized, quantized.new_ones(len(quantized), 1)], dim=1)
        _submit(workers, "second", self.second, inputs, inputs)
        _submit(workers, "drift", self.drift, original - quantized, inputs)
        for point, difference in residual_drift.items():
            if point not in self.residual:
                self.residual[point] = torch.zeros(difference.shape[1], inputs.shape[1])
            _submit(workers, f"residual {point}", self.residual[point], difference, inputs)

    def solver(self, ridge: float = RIDGE) -> torch.Tensor:
        """The Cholesky factor (float64) of the damped second moments; the constant is not damped."""
        damped = self.second.double()
        scale = float(damped.diagonal()[:-1].mean())
        damped.diagonal()[:-1].add_(ridge * scale if scale > 0 else 1.0)
        factor: torch.Tensor = torch.linalg.cholesky(damped)
        return factor


def _submit(
    workers: OrderedWorkers, key: str, total: torch.Tensor, left: torch.Tensor, right: torch.Tensor
) -> None:
    """Add left' right to a total, in a worker."""
    n_bytes = left.nbytes + right.nbytes
    workers.submit(key, lambda: _add_product(total, left, right), n_bytes)


@torch.no_grad()
def _add_product(total: torch.Tensor, left: torch.Tensor, right: torch.Tensor) -> None:
    total.addmm_(left.T, right)


def correction(
    sums: DriftSums, solver: torch.Tensor, weight: torch.Tensor, residual: Point | None, share: float = SHARE
) -> torch.Tensor:
    """What to add to `weight` (out, in) before it is quantized: `share` of the ridge regression of the output's drift.

    The drift is weight (x' - x) plus, for a layer that writes to `residual`, the drift of the hidden states there.
    """
    moments = _output_drift(sums, weight, residual).T.double()  # (in + 1, out)
    solution = torch.cholesky_solve(moments, solver)
    return (share * solution[:-1].T).float()


def mean_error(
    sums: DriftSums, weight: torch.Tensor, quantized: torch.Tensor, residual: Point | None
) -> torch.Tensor:
    """The mean over tokens of the original's output minus the quantized layer's: what is left for its bias."""
    left = _output_drift(sums, weight, residual)[:, -1] - (quantized - weight) @ sums.second[:-1, -1]
    return left / sums.n_tokens


def _output_drift(sums: DriftSums, weight: torch.Tensor, residual: Point | None) -> torch.Tensor:
    """(out, in + 1): sum over tokens of the output's drift times [x, 1]."""
    drift = weight @ sums.drift
    return drift if residual is None else drift + sums.residual[residual]
