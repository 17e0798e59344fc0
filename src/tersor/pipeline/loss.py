"""How much worse a finished archive is than the original, on text that calibration did not see."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch.nn import functional

from tersor.calibrate.batches import Batch, make_batches
from tersor.calibrate.model_inputs import call_model
from tersor.calibrate.sampling import is_decoder
from tersor.calibrate.threads import single_thread
from tersor.errors import UsageError
from tersor.npy import read_npy
from tersor.recipe.loss import Metric

BATCH_TOKENS = 1024
# KL needs the original's log-probabilities of the whole vocabulary; on disk, at most so many bytes.
MAX_SPOOL_BYTES = 1 << 29


@dataclass(frozen=True, slots=True)
class Loss:
    """value: relative increase of perplexity, nats of KL per prediction, or 1 - cosine. n: sequences behind it."""

    metric: Metric
    value: float
    stderr: float
    n: int

    def to_json(self, limit: float) -> dict[str, Any]:
        return {
            "metric": self.metric,
            "limit": limit,
            "value": self.value,
            "stderr": self.stderr,
            "n": self.n,
        }


class LossMeter:
    """Holds what the original says about the held-out text, and compares other models with it."""

    def __init__(
        self, model: Any, sequences: Sequence[Sequence[int]], metric: Metric | None, spool: Path
    ) -> None:
        """model: the original. sequences: token ids. metric: None: what suits the model (see LossLimit).

        spool: a folder for large references. Raises: UsageError if the model has no such metric, or no text is left.
        """
        self.metric: Metric = metric or natural_metric(model, sequences)
        if not sequences:
            raise UsageError(
                "max_loss needs text that calibration does not see, and none is left over: give a longer calibration "
                "text, or a size instead"
            )
        spool.mkdir()
        self._spool = spool
        self._batches = make_batches(
            _limited(sequences, model) if self.metric == "kl" else sequences, BATCH_TOKENS
        )
        self._reference = [
            self._stored(number, found) for number, found in enumerate(self._outputs(model, self._batches))
        ]

    def measure(self, model: Any) -> Loss:
        """The loss of another model of the same architecture."""
        values: list[np.ndarray] = []
        weights: list[np.ndarray] = []
        batches = zip(self._batches, self._reference, self._outputs(model, self._batches), strict=True)
        for batch, before, after in batches:
            differences, counts = _compare(self.metric, batch, read_npy(before), after)
            values.append(differences)
            weights.append(counts)
        mean, stderr = _ratio(np.concatenate(values), np.concatenate(weights))
        if self.metric == "perplexity":
            mean, stderr = math.expm1(min(mean, 50.0)), math.exp(min(mean, 50.0)) * stderr
        return Loss(self.metric, mean, stderr, sum(len(batch.ids) for batch in self._batches))

    def _outputs(self, model: Any, batches: Sequence[Batch]) -> Iterator[np.ndarray]:
        with single_thread(), torch.inference_mode():
            for batch in batches:
                yield _output(self.metric, model, batch)

    def _stored(self, number: int, values: np.ndarray) -> Path:
        path = self._spool / f"reference-{number}.npy"
        np.save(path, values)
        return path


def natural_metric(model: Any, sequences: Sequence[Sequence[int]]) -> Metric:
    """perplexity for causal language models, kl for other models with logits, else embedding."""
    if is_decoder(model):
        return "perplexity"
    with torch.inference_mode():
        output = call_model(model, make_batches(sequences[:1] or [[0, 0]], BATCH_TOKENS)[0])
    return "kl" if hasattr(output, "logits") else "embedding"


def _output(metric: Metric, model: Any, batch: Batch) -> np.ndarray:
    """Embeddings (sequences, width), loss sums (sequences,), or log-probabilities (predictions, classes)."""
    if metric == "embedding":
        return _embeddings(model, batch)
    logits = getattr(call_model(model, batch), "logits", None)
    if logits is None:
        raise UsageError(f"{type(model).__name__} has no logits, so no {metric}; use metric: embedding")
    per_token = logits.ndim == 3 and logits.shape[:2] == batch.mask.shape
    if metric == "kl":
        rows = logits[batch.mask] if per_token else logits.reshape(-1, logits.shape[-1])
        return np.asarray(functional.log_softmax(rows.float(), dim=-1).numpy())
    if not (per_token and is_decoder(model)):
        raise UsageError(
            f"{type(model).__name__} predicts no next token, so it has no perplexity; use metric: kl"
        )
    return _sequence_losses(logits, batch)


def _embeddings(model: Any, batch: Batch) -> np.ndarray:
    # A head is no matter here: the encoder below it is what embeds.
    hidden = getattr(call_model(getattr(model, "base_model", model), batch), "last_hidden_state", None)
    if hidden is None or hidden.shape[:2] != batch.mask.shape:
        raise UsageError(
            f"{type(model).__name__} has no hidden state per token, so no embedding; use metric: kl"
        )
    weights = batch.mask[:, :, None].double()
    pooled = (hidden.double() * weights).sum(dim=1) / weights.sum(dim=1)
    return np.asarray(functional.normalize(pooled, dim=-1).numpy())


def _sequence_losses(logits: torch.Tensor, batch: Batch) -> np.ndarray:
    """Sum of -log p(token | those before it) of each sequence, in nats."""
    losses = [
        functional.cross_entropy(row[:-1].float(), ids[1:], reduction="none")[mask[1:]].double().sum()
        for row, ids, mask in zip(logits, batch.ids, batch.mask, strict=True)
    ]
    return np.array([float(loss) for loss in losses])


def _compare(
    metric: Metric, batch: Batch, before: np.ndarray, after: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Summed differences and the number of things compared, per sequence (kl: per prediction)."""
    if metric == "embedding":
        return 0.5 * np.square(before - after).sum(axis=1), np.ones(len(before))
    if metric == "perplexity":
        return after - before, np.maximum(batch.mask.sum(dim=1).numpy() - 1, 0).astype(np.float64)
    reference, changed = before.astype(np.float64), after.astype(np.float64)
    return (np.exp(reference) * (reference - changed)).sum(axis=1), np.ones(len(before))


def _ratio(values: np.ndarray, counts: np.ndarray) -> tuple[float, float]:
    """sum(values) / sum(counts) and its standard error (delta method)."""
    total = float(counts.sum())
    mean = float(values.sum()) / max(total, 1.0)
    residuals = values - mean * counts
    return mean, float(np.sqrt(np.square(residuals).sum())) / max(total, 1.0)


def _limited(sequences: Sequence[Sequence[int]], model: Any) -> Sequence[Sequence[int]]:
    """As many sequences as the reference's log-probabilities of one token after another may take."""
    config = getattr(model, "config", None)
    width = getattr(config, "vocab_size", 0) if is_decoder(model) else 0
    n_tokens = MAX_SPOOL_BYTES // max(4 * int(width or 0), 1)
    taken = 0
    for number, sequence in enumerate(sequences):
        taken += len(sequence)
        if taken > n_tokens:
            return sequences[: max(number, 1)]
    return sequences
