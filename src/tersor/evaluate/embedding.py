"""How far sentence embeddings move: 1 - cos between the model's and the original's."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import torch

from tersor.errors import UsageError
from tersor.evaluate.data import EvaluationData
from tersor.evaluate.statistics import mean_and_stderr
from tersor.evaluate.task import Task
from tersor.evaluate.tokens import encode, position_limit
from tersor.types import Metric

N_SENTENCES = 300
_BATCH_TOKENS = 2048


def measure(model: Any, reference: Any, tokenizer: Any, data: EvaluationData, seed: int) -> list[Metric]:
    """Mean of 1 - cos over up to 300 sentences chosen by `seed`.

    An embedding is the mean of the last hidden states over the sentence's tokens, special ones included.
    n is the number of sentences. Raises: UsageError if the data has no sentence of 8..60 words.
    """
    sentences = data.sample(N_SENTENCES, seed)
    if not sentences:
        raise UsageError(
            f"{data.name}: no sentence of 8 to 60 words to embed; "
            "needed: prose with whole sentences on a line, or no data file for built-in text"
        )
    limit = min(position_limit(model), position_limit(reference))
    sequences = [encode(tokenizer, sentence, limit) for sentence in sentences]
    distances = []
    with torch.inference_mode():
        for ids, mask in _batches(sequences):
            original = _embed(reference, ids, mask)
            embedding = original if model is reference else _embed(model, ids, mask)
            distances.append(_cosine_distance(embedding, original))
    value, stderr = mean_and_stderr(torch.cat(distances).numpy().astype(np.float64))
    return [Metric("embedding_error", value, "1 - cos", len(sentences), stderr, higher_is_better=False)]


def _batches(sequences: list[list[int]]) -> Iterator[tuple[torch.Tensor, torch.Tensor]]:
    """Sequences of like length together, padded on the right with 0: ids and mask, int64 (batch, length)."""
    ordered = sorted(sequences, key=len)
    start = 0
    while start < len(ordered):
        end = start + 1
        while end < len(ordered) and (end + 1 - start) * len(ordered[end]) <= _BATCH_TOKENS:
            end += 1
        yield _padded(ordered[start:end])
        start = end


def _padded(batch: list[list[int]]) -> tuple[torch.Tensor, torch.Tensor]:
    ids = torch.zeros(len(batch), max(map(len, batch)), dtype=torch.int64)
    mask = torch.zeros_like(ids)
    for row, tokens in enumerate(batch):
        ids[row, : len(tokens)] = torch.tensor(tokens)
        mask[row, : len(tokens)] = 1
    return ids, mask


def _embed(model: Any, ids: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
    """Mean hidden state over the tokens that are no padding, float64 (batch, hidden)."""
    output = model(input_ids=ids.to(model.device), attention_mask=mask.to(model.device))
    hidden = output.last_hidden_state.to(device="cpu", dtype=torch.float64)  # (batch, length, hidden)
    weights = mask[:, :, None].to(torch.float64)
    pooled: torch.Tensor = (hidden * weights).sum(1) / weights.sum(1)
    return pooled


def _cosine_distance(left: torch.Tensor, right: torch.Tensor) -> torch.Tensor:
    """1 - cos of each pair of rows, in 0..2, float64 (batch,). Exactly 0 for equal rows."""
    # |a/|a| - b/|b||^2 / 2 = 1 - cos, without the cancellation of 1 - cos near 0.
    normalized = torch.nn.functional.normalize
    return (normalized(left, dim=1) - normalized(right, dim=1)).pow(2).sum(1) / 2


TASK = Task(auto_class="AutoModel", needs_every_weight=False, measure=measure)
