"""What calibration found, on disk where it is large."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from tersor.quant.base import TensorStatistics


@dataclass(frozen=True, slots=True)
class Statistics:
    """Statistics of a model by parameter name; a name that calibration did not reach is in no mapping.

    spool: the folder that holds the matrices; it must live as long as this object.
    factors: files of `TensorStatistics.factor`, float32 .npy. hessians: files of the same tensors' Hessians.
    row_weights: importance of each row, mean 1 (embeddings). base_steps: a tensor's step for a global step of 1; with
        these, equal global steps cost equal error per weight everywhere.
    provenance: what made them (text, hash, seed, tokens), for the archive.
    """

    spool: Path
    factors: Mapping[str, Path] = field(default_factory=dict)
    hessians: Mapping[str, Path] = field(default_factory=dict)
    row_weights: Mapping[str, np.ndarray] = field(default_factory=dict)
    base_steps: Mapping[str, float] = field(default_factory=dict)
    provenance: Mapping[str, str | int] = field(default_factory=dict)

    def of(self, name: str) -> TensorStatistics:
        """What a quantizer of parameter `name` gets; the factor is memory-mapped."""
        path = self.factors.get(name)
        factor = None if path is None else np.load(path, mmap_mode="r")
        return TensorStatistics(factor, self.row_weights.get(name))

    def hessian(self, name: str) -> np.ndarray | None:
        """The input Hessian of `name` (n, n), memory-mapped, of arbitrary scale; None if it was not collected."""
        path = self.hessians.get(name)
        return None if path is None else np.load(path, mmap_mode="r")
