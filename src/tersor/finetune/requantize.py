"""Trained weights compressed anew: rounding with error feedback around where training has brought them.

Codes of an unbounded grid (two_sided, gptq) are made with feedback, which single codes that move destroy. So the latent
weights are compressed by the archive's own recipe, to the bytes that are allowed.
"""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import numpy as np
from msgspec import structs
from torch.nn.utils import parametrize

from tersor.archive.folder import CONFIG_NAME
from tersor.archive.limits import ARCHIVE_SUFFIX
from tersor.archive.reader import open_archive
from tersor.finetune.archive_model import ArchiveModel
from tersor.finetune.factor_weights import TrainedFactors
from tersor.finetune.grid_weights import trained_grids
from tersor.finetune.plan import Progress
from tersor.history import FILE_NAME
from tersor.pipeline import compress
from tersor.recipe.model import make_recipe

_BUDGETS = ("size", "max_loss", "metric", "max_latency", "calibration")


def has_unbounded_codes(model: ArchiveModel) -> bool:
    """Whether any grid that trains has integers without ends."""
    return any(np.isinf(grid.alphabet.high) for grid in trained_grids(model.loaded.model).values())


def save_latent(model: ArchiveModel, folder: Path) -> None:
    """Write the latent weights as a plain checkpoint, with the side files of the archive."""
    network = model.loaded.model
    for module in list(network.modules()):
        if parametrize.is_parametrized(module, "weight"):
            is_product = isinstance(module.parametrizations.weight[0], TrainedFactors)
            parametrize.remove_parametrizations(module, "weight", leave_parametrized=is_product)
    network.save_pretrained(folder)
    written = {path.name for path in folder.iterdir()}
    for path in model.folder.iterdir():
        is_ours = ARCHIVE_SUFFIX in path.name or path.name in (CONFIG_NAME, FILE_NAME)
        if path.is_file() and not is_ours and path.name not in written:
            shutil.copyfile(path, folder / path.name)


def compress_latent(
    latent: Path,
    archive: Path,
    output: Path,
    *,
    n_bytes: int,
    calibration: Path,
    threads: int,
    progress: Progress,
) -> dict[str, Any]:
    """Compress by the recipe of `archive` to n_bytes, calibrated on the task's own text."""
    with open_archive(archive) as opened:
        stored = dict(opened.provenance["recipe"])
    recipe = make_recipe({name: value for name, value in stored.items() if name not in _BUDGETS})
    recipe = structs.replace(recipe, size=f"{n_bytes}B", calibration=str(calibration))
    return compress(latent, output, recipe=recipe, threads=threads, force=True, progress=progress)
