"""What a run reports: sizes, stages, metrics; and the entry of the archive's history."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from tersor.archive.inspect import inspect
from tersor.archive.reader import open_archive
from tersor.history import entry
from tersor.pipeline.stored_values import stored_value


def finite(value: Any) -> Any:
    """The value with NaN and infinity as None: JSON has neither."""
    if isinstance(value, Mapping):
        return {str(key): finite(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [finite(item) for item in value]
    if isinstance(value, float | np.floating):
        return float(value) if math.isfinite(value) else None
    return value


def history_entry(task: str, stage: Mapping[str, Any], sizes: Mapping[str, Any]) -> dict[str, Any]:
    """The "finetune" entry of one stage: settings, log, metrics, bits per weight, rate of zeros."""
    facts = {
        name: stage[name] for name in ("stage", "settings", "log", "metrics", "n_steps") if name in stage
    }
    return entry("finetune", **finite({"task": task, **facts, **sizes}))


def weight_bytes(folder: Path) -> int:
    """Bytes of the weight files of a plain checkpoint or an archive."""
    return sum(path.stat().st_size for path in weight_files(folder))


def weight_files(folder: Path) -> list[Path]:
    """The weight files of a folder, in order of their names."""
    return sorted(path for name in ("*.safetensors", "*.bin") for path in folder.glob(name))


def archive_facts(folder: Path) -> dict[str, Any]:
    """n_bytes and bits_per_weight of an archive, and the share of zeros among the codes of each grid."""
    described = inspect(folder)["output"]
    return {
        "n_bytes": described["n_bytes"],
        "bits_per_weight": described["bits_per_weight"],
        "zeros": zero_rates(folder),
    }


def zero_rates(folder: Path) -> dict[str, float]:
    """Share of zero weights of every grid with more than one row, by tensor name."""
    found = {}
    with open_archive(folder) as archive:
        for file in archive.files:
            for name, number in file.numbers.items():
                if file.layout_name(file.index.tensors[number]) != "grid/1" or not file.spec(number).shape:
                    continue
                grid = stored_value(file, number)
                codes = getattr(grid, "codes", None)
                if codes is not None and codes.shape[0] > 1:
                    found[name] = float((grid.to_dense() == 0).mean())  # type: ignore[union-attr]
    return found


def metric_of(metrics: Sequence[Mapping[str, Any]], split: str, name: str) -> float | None:
    """One value of a stage's metrics."""
    for row in metrics:
        if row["split"] == split and row["name"] == name:
            return float(row["value"])
    return None


def is_better(after: float | None, before: float | None, greater_is_better: bool) -> bool:
    """Whether a metric has become better; what is missing is no improvement."""
    if after is None or before is None or math.isnan(after):
        return False
    return after > before if greater_is_better else after < before
