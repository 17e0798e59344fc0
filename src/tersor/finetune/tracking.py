"""What is tracked beside losses and metrics: bits per weight, bytes, zeros, and the steps of every layer."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
import torch
from transformers.integrations import TensorBoardCallback

from tersor.errors import MissingExtraError
from tersor.finetune.archive_model import ArchiveModel
from tersor.finetune.grid_weights import trained_grids
from tersor.finetune.result import archive_facts
from tersor.finetune.trainer import TaskTrainer

SUFFIX = ".runs"
_PIP = {"tensorboard": "'tersor[track]'", "wandb": "wandb"}


def prepare_trackers(trackers: Sequence[str], output: Path) -> None:
    """Tell the trackers where to write: events of TensorBoard and offline runs of W&B go to OUTPUT.runs.

    Raises: MissingExtraError if a tracker is not installed.
    """
    folder = output.parent / f"{output.name}{SUFFIX}"
    for name in trackers:
        if find_spec(name) is None:
            raise MissingExtraError(f"--report-to {name}: it is not installed; run: pip install {_PIP[name]}")
    if "tensorboard" in trackers:
        os.environ["TENSORBOARD_LOGGING_DIR"] = str(folder)
    if "wandb" in trackers:
        folder.mkdir(parents=True, exist_ok=True)
        os.environ.setdefault("WANDB_DIR", str(folder))
        os.environ.setdefault("WANDB_PROJECT", "tersor")


def finish_trackers(trackers: Sequence[str]) -> None:
    """End the run of W&B, so that the next stage gets one of its own; TensorBoard's writer ends with the training."""
    if "wandb" in trackers:
        import wandb

        wandb.finish()


class CodesLog:
    """What the codes of an archive cost while they train: for the logs of every evaluation."""

    def __init__(self, model: ArchiveModel) -> None:
        self._model = model
        self._facts = archive_facts(model.folder)

    def __call__(self, trainer: TaskTrainer) -> Mapping[str, float]:
        """bits_per_weight, file_bytes (estimated), zero_rate; histograms of the steps go to the trackers from here."""
        for name, values in self._steps().items():
            _send(trainer, name, values)
        return self._scalars()

    def _scalars(self) -> dict[str, float]:
        network = self._model.loaded.model
        n_bytes, zeros = float(self._facts["n_bytes"]), dict(self._facts["zeros"])
        for name, grid in trained_grids(network).items():
            codes = grid.codes()
            zeros[name] = float((codes == 0).float().mean())
            n_bytes += (entropy_bits(codes) - grid.first_bits) / 8
        n_params = sum(stored.spec.n_elements for stored in self._model.stored.values())
        rate = float(np.mean(list(zeros.values()))) if zeros else 0.0
        return {
            "bits_per_weight": 8 * n_bytes / max(1, n_params),
            "file_bytes": n_bytes,
            "zero_rate": rate,
        }

    def _steps(self) -> dict[str, np.ndarray]:
        grids = trained_grids(self._model.loaded.model)
        return {f"steps/{name}": grid.steps().reshape(-1) for name, grid in grids.items()}


def _send(trainer: TaskTrainer, name: str, values: np.ndarray) -> None:
    """One histogram to the trackers that are on."""
    for callback in trainer.callback_handler.callbacks:
        if isinstance(callback, TensorBoardCallback):
            writer: Any = callback.tb_writer
            if writer is not None:
                writer.add_histogram(name, values, trainer.state.global_step)
    if "wandb" in trainer.args.report_to:
        import wandb

        if wandb.run is not None:
            wandb.log({name: wandb.Histogram(values.tolist())}, commit=False)


def entropy_bits(codes: torch.Tensor) -> float:
    """Bits of the codes under their own histogram."""
    _, counts = torch.unique(codes, return_counts=True)
    shares = counts.double() / max(1, codes.numel())
    return float(-(counts * shares.log2()).sum())
