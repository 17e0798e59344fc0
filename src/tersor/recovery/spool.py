"""What the original model computes in one block, on disk while the block is quantized."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch

from tersor.npy import read_npy
from tersor.recovery.stages import Seen, Stage


class SeenSpool:
    """A folder of what passes stages, by stage and batch. Memory: none; one block's worth of disk."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        folder.mkdir(parents=True, exist_ok=True)

    def put(self, batch: int, stages: Sequence[Seen]) -> None:
        """Store what passes each stage in one batch, replacing what was stored before."""
        for number, seen in enumerate(stages):
            arrays = [seen.inputs, *seen.residuals.values()]
            for part, tensor in enumerate(arrays):
                np.save(self._path(number, batch, part), tensor.numpy())

    def get(self, number: int, batch: int, stage: Stage) -> Seen:
        """What passed stage `number` in a batch."""
        inputs, *residuals = (
            torch.from_numpy(read_npy(self._path(number, batch, part)))
            for part in range(1 + len(stage.residuals))
        )
        return Seen(inputs, dict(zip(stage.residuals, residuals, strict=True)))

    def _path(self, number: int, batch: int, part: int) -> Path:
        return self._folder / f"{number:03d}-{batch:05d}-{part}.npy"
