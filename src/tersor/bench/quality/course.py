"""The comparison on one model: compress or quantize, restore, measure."""

from __future__ import annotations

import tempfile
import time
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from tersor.archive.writer import producer_name
from tersor.bench.child import PeerFailedError
from tersor.bench.quality.checkpoint import PeerCheckpoint
from tersor.bench.quality.child import run_peer
from tersor.bench.quality.entry import Entry
from tersor.bench.quality.peers import QualityJob
from tersor.errors import BudgetError
from tersor.evaluate import evaluate
from tersor.evaluate.size import weight_bytes
from tersor.load import load_checked
from tersor.pipeline import compress
from tersor.recipe import DEFAULT_METHOD

METRIC_OF = {"embedding": "embedding_error", "kl": "kl", "perplexity": "perplexity"}
"""The metric of each task that is compared."""


@dataclass(frozen=True, slots=True)
class PeerRun:
    """A peer at one of its settings, and who can run it."""

    name: str
    setting: str
    interpreter: str
    version: str


class Course:
    """Measures one entry after the other. entries: in order of measurement; n_done: calls that are finished."""

    def __init__(
        self,
        model: Path,
        task: str,
        calibration: Path | None,
        data: Path | None,
        seeds: range,
        threads: int,
        folder: Path,
    ) -> None:
        self.entries: list[Entry] = []
        self.n_done = 0
        self.n_input_bytes = weight_bytes(model)
        self._model, self._task, self._data = model, task, data
        self._calibration, self._seeds, self._threads, self._folder = calibration, seeds, threads, folder
        self._network, _ = load_checked(model, dtype="float32")
        self.n_params = sum(parameter.numel() for parameter in self._network.parameters())

    def measure_method(self, method: str, size: str) -> None:
        """A method of tersor at a size."""
        self._compress(Entry(method, size, producer_name()), method, size)
        self.n_done += 1

    def measure_peer(self, run: PeerRun, checkpoint: PeerCheckpoint) -> None:
        """A peer, and the default method at the bytes that it took; if the peer fails, the reason."""
        entry = Entry(run.name, run.setting, run.version)
        self.entries.append(entry)
        try:
            self._quantize(entry, run, checkpoint)
        except PeerFailedError as exc:
            entry.problem = str(exc)
        else:
            n_bytes = entry.n_bytes[0]
            equal = Entry(DEFAULT_METHOD, f"{n_bytes:,} B", producer_name(), equal_to=entry.label)
            self._compress(equal, DEFAULT_METHOD, f"{n_bytes}B")
        self.n_done += 1

    def peer_checkpoint(self, model: Path) -> PeerCheckpoint:
        """Write the tensors of `model` and the mean squares of its inputs for all peers."""
        from tersor.bench.quality.importance import input_mean_squares
        from tersor.calibrate import default_text, text_from_file
        from tersor.evaluate.tokens import load_tokenizer

        network = self._network if model == self._model else load_checked(model, dtype="float32")[0]
        tokenizer = load_tokenizer(model)
        if self._calibration is None:
            text = default_text(tokenizer, network, seed=0)
        else:
            text = text_from_file(self._calibration, tokenizer, network, seed=0)
        checkpoint = PeerCheckpoint(model, self._folder / "peers", network)
        checkpoint.add_importance(input_mean_squares(network, text))
        return checkpoint

    def _compress(self, entry: Entry, method: str, size: str) -> None:
        """Compress with tersor and measure, once for each seed."""
        self.entries.append(entry)
        out = self._folder / "own"
        for seed in self._seeds:
            try:
                made = compress(
                    self._model,
                    out,
                    size=size,
                    recipe={"method": method},
                    calibration=self._calibration,
                    seed=seed,
                    threads=self._threads,
                    force=True,
                )
            except BudgetError as exc:
                entry.problem = str(exc)
                return
            entry.n_bytes.append(made["output"]["n_bytes"])
            entry.seconds.append(made["seconds"])
            entry.values.append(self._value(out, seed))

    def _quantize(self, entry: Entry, run: PeerRun, checkpoint: PeerCheckpoint) -> None:
        """Let a peer quantize, and measure what it left with the held-out text of each seed."""
        started = time.monotonic()
        with tempfile.TemporaryDirectory(dir=self._folder) as folder:
            left = Path(folder) / "left"
            left.mkdir()
            job = QualityJob(
                model=str(checkpoint.model),
                text=str(self._calibration or ""),
                setting=run.setting,
                tensors=str(checkpoint.tensors),
                importance=str(checkpoint.importance),
                out=str(left),
            )
            entry.n_bytes.append(int(run_peer(run.name, job, run.interpreter)["n_bytes"]))
            entry.seconds.append(time.monotonic() - started)
            restored = checkpoint.restored(left, Path(folder) / "model")
            entry.values.extend(self._value(restored, seed) for seed in self._seeds)

    def _value(self, folder: Path, seed: int) -> float:
        """The metric of a folder beside the original, on the held-out text."""
        result = evaluate(
            [self._model, folder],
            task=self._task,
            data=self._data,
            seed=seed,
            loader=partial(load_checked, dtype="float32"),
        )
        wanted = METRIC_OF[self._task]
        return next(metric.value for metric in result.models[1].metrics if metric.name == wanted)
