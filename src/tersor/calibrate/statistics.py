"""What calibration found, on disk where it is large."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from tersor.npy import read_npy
from tersor.quant.base import TensorStatistics


@dataclass(frozen=True, slots=True)
class Statistics:
    """Statistics of a model by parameter name; a name that calibration did not reach is in no mapping.

    spool: the folder that holds the matrices; it must live as long as this object.
    factors, row_factors: files of `TensorStatistics.factor` and `.row_factor`, float32 .npy.
    hessians, output_hessians: files of the same tensors' H and G, undamped and of arbitrary scale.
    row_weights: importance of each row, mean 1 (embeddings, heads over a vocabulary, stacked experts).
    input_scales: mean |x_j| of the plain inputs of a linear layer.
    base_steps: a tensor's step (`QuantConfig.step`) for a global step of 1, errors[t]**-0.5 times a constant of the
        model: equal global steps cost equal error per weight everywhere. At a global step of 1 the codes of a typical
        tensor have rms 1.
    errors: measured error coefficient s_t. Rounding tensor t of n_t weights with `QuantConfig.step` = d (row and
        column steps, feedback and all) is expected to move the model's output by s_t * n_t * d**2 / 12, in mean KL
        divergence per prediction or in mean 1 - cosine per embedding, on text like the calibration text. Errors of
        tensors add up while they are small. Of token embeddings they allow for tokens that the text did not show.
        A scalar grid with rate_weight 0 has exactly this noise. Expected and measured on other text with `two_sided`:
        MiniLM (WikiText) at 4 / 3 / 2 / 1.5 bits .0012 / .0056 / .030 / .076 and .0014 / .0061 / .030 / .076;
        stories260k (own text) at 5 / 4 / 3 bits .0084 / .036 / .16 and .0091 / .039 / .20.
    notes: what a user should know (parameters without statistics, shared statistics), one sentence each.
    provenance: what made them (text, hash, seed, tokens), for the archive.
    """

    spool: Path
    factors: Mapping[str, Path] = field(default_factory=dict)
    hessians: Mapping[str, Path] = field(default_factory=dict)
    row_weights: Mapping[str, np.ndarray] = field(default_factory=dict)
    base_steps: Mapping[str, float] = field(default_factory=dict)
    provenance: Mapping[str, str | int] = field(default_factory=dict)
    row_factors: Mapping[str, Path] = field(default_factory=dict)
    output_hessians: Mapping[str, Path] = field(default_factory=dict)
    input_scales: Mapping[str, np.ndarray] = field(default_factory=dict)
    errors: Mapping[str, float] = field(default_factory=dict)
    notes: tuple[str, ...] = ()

    def of(self, name: str) -> TensorStatistics:
        """What a quantizer of parameter `name` gets; matrices are memory-mapped."""
        return TensorStatistics(
            factor=_mapped(self.factors.get(name)),
            row_weights=self.row_weights.get(name),
            row_factor=_mapped(self.row_factors.get(name)),
            hessian=_mapped(self.hessians.get(name)),
            output_hessian=_mapped(self.output_hessians.get(name)),
            input_scales=self.input_scales.get(name),
        )

    def hessian(self, name: str) -> np.ndarray | None:
        """The input Hessian of `name` (n, n), memory-mapped, of arbitrary scale; None if it was not collected."""
        return _mapped(self.hessians.get(name))


def _mapped(path: Path | None) -> np.ndarray | None:
    return None if path is None else read_npy(path, mapped=True)
