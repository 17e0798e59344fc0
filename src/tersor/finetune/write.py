"""A trained model back in its archive, no larger than it may be."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch

from tersor.errors import BudgetError
from tersor.finetune.archive_model import ArchiveModel, as_array
from tersor.finetune.work import WorkFolder
from tersor.layouts.base import Dense
from tersor.layouts.grid import Grid
from tersor.layouts.sparse import Sparse
from tersor.pipeline.rewrite import Changes, rewrite
from tersor.pipeline.stored_values import Stored
from tersor.quant import QUANTIZERS, QuantConfig, TensorStatistics
from tersor.quant.rtn import small_step
from tersor.types import TensorSpec

# Each time the file is too large, steps grow by this factor: a quarter octave saves about a quarter of a bit.
WIDEN = 2.0**0.25
# First those of the small tensors: they are finer than needed, and of frozen codes all that can give way. 2 costs next
# to nothing; beyond that codes that were trained get wider, and 16 (16 steps per rms) is the last resort.
SMALL_TRIALS, LAST_SMALL_TRIALS = 4, 16
CODE_TRIALS = 16


@dataclass(frozen=True, slots=True)
class Widening:
    """Factors on the steps of small tensors, and on those of codes that were trained."""

    small: float = 1.0
    codes: float = 1.0


MakeValues = Callable[[Widening], Mapping[str, Stored]]


def widenings(*, codes: bool) -> Iterator[Widening]:
    """What is tried, finest first. codes: some were trained."""
    for power in range(SMALL_TRIALS + 1):
        yield Widening(WIDEN**power)
    last = CODE_TRIALS if codes else 0
    for power in range(1, last + 1):
        yield Widening(WIDEN**SMALL_TRIALS, WIDEN**power)
    for power in range(SMALL_TRIALS + 1, LAST_SMALL_TRIALS + 1):
        yield Widening(WIDEN**power, WIDEN**last)


def small_value(array: np.ndarray, widening: float) -> Grid:
    """A small tensor at its fixed precision (256 steps per rms), coarser by the widening."""
    matrix = np.ascontiguousarray(array.reshape(-1, array.shape[-1]) if array.ndim else array.reshape(1, 1))
    config = QuantConfig(widening * small_step(matrix), 0.0)
    return QUANTIZERS.get("rtn")(matrix, config, TensorStatistics())


def value_like(stored: Stored | None, array: np.ndarray, dtype: np.dtype[Any], widening: float) -> Stored:
    """New values of a small tensor in the form that it has: floats stay floats, anything else becomes a fine grid."""
    if isinstance(stored, Dense | Sparse):
        return type(stored)(np.ascontiguousarray(array.astype(dtype)))
    return small_value(array, widening)


def head_tensors(model: ArchiveModel, widening: float) -> dict[str, tuple[TensorSpec, Stored]]:
    """What the archive did not hold: a new head, under the model's own names."""
    parameters = dict(model.loaded.model.named_parameters())
    found: dict[str, tuple[TensorSpec, Stored]] = {}
    for name in model.loaded.missing:
        if name in parameters and name not in model.stored:
            array = as_array(parameters[name])
            spec = TensorSpec(name, "F32", array.shape)
            found[name] = (spec, small_value(array, widening))
    return found


def new_config(model: ArchiveModel) -> bytes | None:
    """config.json for a model that got a new head; None if it has the one it had."""
    if not model.loaded.missing:
        return None
    config = model.loaded.model.config.to_diff_dict()
    config["architectures"] = [type(model.loaded.model).__name__]
    config.pop("quantization_config", None)
    return (json.dumps(config, indent=2, sort_keys=True, default=_plain) + "\n").encode()


def write_within(
    model: ArchiveModel,
    make_values: MakeValues,
    limit: int,
    work: WorkFolder,
    name: str,
    provenance: Mapping[str, Any],
    *,
    codes: bool,
    threads: int,
) -> tuple[int, Widening]:
    """Write the archive with new values; while it is larger than `limit`, with wider steps.

    Returns (bytes, widening). Raises: BudgetError if nothing in `widenings` fits.
    """
    config = new_config(model)
    n_bytes = 0
    widening = Widening()
    for widening in widenings(codes=codes):
        changes = Changes(make_values(widening), head_tensors(model, widening.small), config, provenance)
        n_bytes = rewrite(model.folder, changes, work.fresh(name), threads=threads)
        if n_bytes <= limit:
            return n_bytes, widening
    raise BudgetError(
        f"{limit:,} bytes cannot be kept after training: with steps {max(widening.small, widening.codes):.0f}x as wide "
        f"{n_bytes:,} bytes remain; give a larger --size"
    )


def _plain(value: object) -> object:
    return str(value).removeprefix("torch.") if isinstance(value, torch.dtype) else str(value)
