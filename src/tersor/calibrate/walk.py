"""The walk: Hessians group by group, then sensitivities."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
from torch import nn

from tersor.calibrate.batches import Batch, make_batches
from tersor.calibrate.hessians import HessianSum, HessianWalk
from tersor.calibrate.importance import row_weights
from tersor.calibrate.memory import return_free_memory
from tersor.calibrate.roles import ParameterRole, parameter_roles
from tersor.calibrate.sensitivity import base_steps, probe_groups
from tersor.calibrate.statistics import Statistics
from tersor.calibrate.text import CalibrationText
from tersor.calibrate.threads import single_thread
from tersor.errors import UsageError
from tersor.quant.factor import inverse_factor

BATCH_TOKENS = 256
GROUP_BYTES = 40 << 20
PROBE_TOKENS = 1536
# Of the mean diagonal. Embeddings get more: their Hessian comes from gradients alone.
DAMPING = 0.01
EMBEDDING_DAMPING = 0.05
# An embedding of a few rows (token types) is a small tensor, not a table of frequencies.
MIN_EMBEDDING_ROWS = 16

Progress = Callable[[str, int, int], None]


def collect(
    model: nn.Module,
    text: CalibrationText,
    spool: Path,
    *,
    seed: int = 0,
    unused: Sequence[int] = (),
    with_gradients: bool = True,
    group_bytes: int = GROUP_BYTES,
    progress: Progress | None = None,
) -> Statistics:
    """Walk `model` over `text` and return its statistics; matrices go to files in `spool`.

    model: any transformers model in float32 on the CPU; unchanged after. unused: placeholder tokens' ids.
    with_gradients: Hessians from end-to-end gradients; False: of the inputs alone (a third of the time; embeddings get
        no Hessian).
    group_bytes: Hessians held in memory at a time; each group costs one walk over the text, and at least one Hessian is
        held.
    progress: called with (stage, done, total).
    Deterministic for a seed, with torch on one thread inside.
    Raises: UsageError if the text is empty; NonFiniteError if the model's activations are not finite.
    """
    if not text.n_tokens:
        raise UsageError(f"calibration text ({text.source}) holds no tokens; give a longer text")
    report: Progress = progress or (lambda stage, done, total: None)
    roles = [role for role in parameter_roles(model).values() if role.kind != "other"]
    batches = make_batches(text.sequences, BATCH_TOKENS)
    statistics = Statistics(spool, {}, {}, _row_weights(roles, text, {}, unused), {}, _provenance(text, seed))
    with single_thread():
        groups = list(_groups(roles, group_bytes))
        energies: dict[str, tuple[np.ndarray, np.ndarray]] = {}
        for index, group in enumerate(groups):
            walk = HessianWalk(model, group, with_gradients)
            counter = _Counter("hessians", index * len(batches), len(groups) * len(batches), report)
            sums = walk.run(batches, seed, counter)
            statistics = _spool(statistics, group, sums, energies)
        statistics = replace(statistics, row_weights=_row_weights(roles, text, energies, unused))
        probed = _probed(model)
        counter = _Counter("sensitivities", 0, len(probe_groups(probed)), report)
        steps = base_steps(model, probed, statistics, _probe_batches(text), seed, counter)
    return replace(statistics, base_steps=steps)


class _Counter:
    """Counts units of work from `done`, reports them, and tidies the memory after each."""

    def __init__(self, stage: str, done: int, total: int, report: Progress) -> None:
        self.stage, self.done, self.total, self.report = stage, done, total, report

    def __call__(self) -> None:
        self.done += 1
        return_free_memory()
        self.report(self.stage, self.done, self.total)


def _groups(roles: Sequence[ParameterRole], group_bytes: int) -> Iterator[list[ParameterRole]]:
    """Roles in order, each group's Hessians within group_bytes (or a single one)."""
    group: list[ParameterRole] = []
    used = 0
    for role in roles:
        size = 4 * role.n_inputs**2
        if group and used + size > group_bytes:
            yield group
            group, used = [], 0
        group.append(role)
        used += size
    if group:
        yield group


def _spool(
    statistics: Statistics,
    group: Sequence[ParameterRole],
    sums: dict[str, HessianSum],
    energies: dict[str, tuple[np.ndarray, np.ndarray]],
) -> Statistics:
    """Write the Hessians of a finished group and free them, then factor them one by one."""
    hessians, factors = dict(statistics.hessians), dict(statistics.factors)
    found = [role for role in group if role.name in sums]
    for role in found:
        done = sums.pop(role.name)
        if done.row_energy is not None and done.row_count is not None:
            energies[role.name] = done.row_energy.numpy(), done.row_count.numpy()
        hessians[role.name] = statistics.spool / f"{len(hessians):05d}.hessian.npy"
        np.save(hessians[role.name], done.matrix.numpy())
        del done
    for role in found:
        damping = EMBEDDING_DAMPING if role.kind == "embedding" else DAMPING
        factor = inverse_factor(np.load(hessians[role.name], mmap_mode="r"), damping)
        factors[role.name] = hessians[role.name].with_suffix("").with_suffix(".factor.npy")
        np.save(factors[role.name], factor)
    return replace(statistics, hessians=hessians, factors=factors)


def _row_weights(
    roles: Sequence[ParameterRole],
    text: CalibrationText,
    energies: dict[str, tuple[np.ndarray, np.ndarray]],
    unused: Sequence[int],
) -> dict[str, np.ndarray]:
    weights = {}
    for role in roles:
        if role.shape[0] < MIN_EMBEDDING_ROWS or not (role.kind == "embedding" or role.is_vocabulary):
            continue
        energy, counts = energies.get(role.name, (None, None))
        if role.is_vocabulary:
            counts = _token_counts(text, role.shape[0])
        elif counts is None:
            counts = np.zeros(role.shape[0])
        known = [token for token in unused if token < role.shape[0]]
        weights[role.name] = row_weights(counts, energy, is_vocabulary=role.is_vocabulary, unused=known)
    return weights


def _token_counts(text: CalibrationText, rows: int) -> np.ndarray:
    ids = np.fromiter((token for sequence in text.sequences for token in sequence), np.int64)
    return np.bincount(ids, minlength=rows)[:rows].astype(np.float64)


def _probed(model: nn.Module) -> list[ParameterRole]:
    """Parameters with a measured step: all matrices and higher, except those of fixed precision."""
    return [role for role in parameter_roles(model).values() if not is_small(role.shape)]


def is_small(shape: tuple[int, ...]) -> bool:
    """Vectors, scalars and matrices of a few rows: kept at a fixed precision, whatever the budget."""
    rows = int(np.prod(shape[:-1]))
    return len(shape) < 2 or rows < MIN_EMBEDDING_ROWS or 0 in shape


def _probe_batches(text: CalibrationText) -> list[Batch]:
    stride = max(1, text.n_tokens // PROBE_TOKENS)
    return make_batches(text.sequences[::stride], BATCH_TOKENS)


def _provenance(text: CalibrationText, seed: int) -> dict[str, str | int]:
    return {
        "calibration": text.source,
        "calibration_sha256": text.sha256,
        "calibration_tokens": text.n_tokens,
        "seed": seed,
    }
