"""The passes of one calibration, in order, with snapshots."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from torch import nn

from tersor.calibrate.batches import Batch
from tersor.calibrate.factors import DECODER_DAMPING, ENCODER_DAMPING, Damping
from tersor.calibrate.head import LanguageModel
from tersor.calibrate.matrices import MatrixSums
from tersor.calibrate.objective import Objective
from tersor.calibrate.passes import Pass
from tersor.calibrate.roles import ParameterRole
from tersor.calibrate.snapshot import Position, Snapshots
from tersor.calibrate.sums import PLAIN_SHARE, PLAIN_SHARE_OF_DECODERS, Middle, middle_of
from tersor.calibrate.workers import OrderedWorkers
from tersor.npy import read_npz

# The first of two passes only weighs the second: it reads every FIRST_PASS_STRIDE-th batch.
FIRST_PASS_STRIDE = 3
# Activations kept for the backward pass; where a batch would keep more, blocks are computed twice (a sixth more time).
ACTIVATION_BYTES = 64 << 20
SNAPSHOT_SECONDS = 60.0

# Called with (all batches, batches done since the last call).
CountBatches = Callable[[int, int], None]


@dataclass(frozen=True, slots=True)
class Settings:
    """What depends on the kind of model (DESIGN 5)."""

    n_passes: int
    plain_share: float
    damping: Damping
    recompute: bool
    with_gradients: bool


def choose_settings(
    objective: Objective, roles: Iterable[ParameterRole], batch_tokens: int, with_gradients: bool
) -> Settings:
    """Of a language model, or of another."""
    widths = sum(role.n_inputs + role.n_outputs for role in roles if role.kind != "embedding")
    recompute = with_gradients and 4 * batch_tokens * widths > ACTIVATION_BYTES
    if isinstance(objective, LanguageModel):
        return Settings(1, PLAIN_SHARE_OF_DECODERS, DECODER_DAMPING, recompute, with_gradients)
    n_passes = 2 if with_gradients else 1
    return Settings(n_passes, PLAIN_SHARE, ENCODER_DAMPING, recompute, with_gradients)


def typical_first(batches: list[Batch]) -> list[Batch]:
    """From the middle length outwards: the first batch fixes the share of plain inputs, so it should be typical."""
    middle = batches[len(batches) // 2].ids.shape[1]
    return sorted(batches, key=lambda batch: abs(batch.ids.shape[1] - middle))


class PassSequence:
    """Runs the passes; each but the first has the factors of the one before in the middle (power iteration)."""

    def __init__(
        self,
        model: nn.Module,
        roles: Mapping[str, ParameterRole],
        objective: Objective,
        settings: Settings,
        matrices: MatrixSums,
        workers: OrderedWorkers,
        spool: Path,
        seed: int,
    ) -> None:
        self._model, self._roles, self._objective = model, roles, objective
        self._settings, self._matrices, self._workers = settings, matrices, workers
        self._spool, self._seed = spool, seed
        self._snapshots = Snapshots(spool)
        self._middles: dict[str, Path] = {}

    def run(self, batches: Sequence[Batch], count: CountBatches, resumable: bool) -> Pass:
        """The last pass, its sums complete. Until `tidy`, a call with equal arguments can go on from a snapshot."""
        texts = [batches[::FIRST_PASS_STRIDE]] * (self._settings.n_passes - 1) + [batches]
        n_batches = sum(map(len, texts))
        start = (self._snapshots.position() if resumable else None) or Position(0, 0)
        done = self._new_pass(start.n_passes)
        if start != Position(0, 0):
            self._middles = self._middle_files() if start.n_passes else {}
            self._snapshots.restore(done, self._objective, self._matrices)
            count(n_batches, sum(map(len, texts[: start.n_passes])) + start.n_batches)
        last_saved = time.monotonic()
        for number in range(start.n_passes, len(texts)):
            if number > start.n_passes:
                self._middles = self._spool_middles(done)
                done = self._new_pass(number)
            first = start.n_batches if number == start.n_passes else 0
            for index in range(first, len(texts[number])):
                done.add(texts[number][index], 1_000_003 * self._seed + 1009 * number + index)
                count(n_batches, 1)
                if resumable and time.monotonic() - last_saved > SNAPSHOT_SECONDS:
                    self._workers.finish()
                    position = Position(number, index + 1)
                    self._snapshots.save(
                        position, done, self._objective, self._matrices, self._middles.values()
                    )
                    last_saved = time.monotonic()
            self._workers.finish()
        return done

    def _new_pass(self, number: int) -> Pass:
        settings = self._settings
        is_last = number == settings.n_passes - 1
        return Pass(
            self._model,
            list(self._roles.values()),
            self._objective,
            self._matrices,
            self._workers,
            plain_share=settings.plain_share if is_last else 0.0,
            find_middle=self._find_middle,
            skip_products=self._head_names(),
            with_gradients=settings.with_gradients,
            recompute=settings.recompute,
        )

    def _head_names(self) -> frozenset[str]:
        """The head over the vocabulary, which is summed in closed form."""
        if not isinstance(self._objective, LanguageModel):
            return frozenset()
        weight = self._objective.head.weight
        return frozenset(name for name, p in self._model.named_parameters() if p is weight)

    def _find_middle(self, name: str) -> Middle | None:
        if name not in self._middles:
            return None
        pair = read_npz(self._middles[name])
        return middle_of(pair["input"], pair["output"])

    def _spool_middles(self, done: Pass) -> dict[str, Path]:
        """Write both sums of each parameter that has both; no sum is kept."""
        found = {}
        for name, sums in done.linear.items():
            pair = self._matrices.take(f"{sums.key}.input"), self._matrices.take(f"{sums.key}.output")
            if pair[0] is not None and pair[1] is not None and sums.energy > 0:
                found[name] = self._middle_path(name)
                np.savez(found[name], input=pair[0], output=pair[1])
        for lookup in done.lookups.values():
            self._matrices.take(f"{lookup.key}.lookup")
        return found

    def _middle_files(self) -> dict[str, Path]:
        return {name: self._middle_path(name) for name in self._roles if self._middle_path(name).is_file()}

    def _middle_path(self, name: str) -> Path:
        return self._spool / f"middle-{list(self._roles).index(name):05d}.npz"

    def tidy(self) -> None:
        """Delete the files of `run`; from then on there is nothing to go on from."""
        for path in self._middles.values():
            path.unlink()
        self._snapshots.clear()
