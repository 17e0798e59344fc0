"""How far sentence embeddings move: 1 - cos between the model's and the original's, and whether sentences keep their
order of similarity."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch

from tersor.errors import UsageError
from tersor.evaluate.data import EvaluationData, text_reader
from tersor.evaluate.forward import batches, padded
from tersor.evaluate.one_by_one import Measurer, ModelTask, Subject
from tersor.evaluate.ranks import similarity_spearman
from tersor.evaluate.samples import Items, column_mean
from tersor.evaluate.task import Figure, Measurement, Share, counted_figure, no_share
from tersor.evaluate.tokens import encode, position_limit
from tersor.types import Metric

N_SENTENCES = 300


def prepare(subject: Subject) -> Measurer:
    """Measures the mean of 1 - cos over up to 300 sentences chosen by the seed (or `limit` of them), and Spearman's
    rank correlation between the original's cosines of all pairs of sentences and the model's.

    An embedding is the mean of the last hidden states over the sentence's tokens, special ones included.
    n is the number of sentences. Raises: UsageError if the data has no sentence of 8..60 words.
    """
    sentences = _sentences(subject)
    limit = position_limit(subject.original)
    sequences = [encode(subject.tokenizer, sentence, limit) for sentence in sentences]
    original = embeddings(subject.original, sequences)

    def measure(model: Any, share: Share) -> Measurement:
        found = original if model is subject.original else embeddings(model, sequences, share)
        distances = _cosine_distance(found, original).numpy()
        items = Items(np.stack([distances, np.ones(len(distances))], axis=1), subject.seed)
        error = counted_figure(
            "embedding_error", "1 - cos", items, column_mean(0), higher_is_better=False, test="none"
        )
        return Measurement((error, _rank_figure(original.numpy(), found.numpy())))

    return measure


def _sentences(subject: Subject) -> list[str]:
    data: EvaluationData = subject.data
    sentences = data.sample(subject.options.limit or N_SENTENCES, subject.seed)
    if not sentences:
        raise UsageError(
            f"{data.name}: no sentence of 8 to 60 words to embed; "
            "needed: prose with whole sentences on a line, or no data file for built-in text"
        )
    return sentences


def _rank_figure(original: np.ndarray, found: np.ndarray) -> Figure:
    value, stderr = similarity_spearman(original, found)
    metric = Metric(
        "similarity_spearman", value, "rank correlation", len(found), stderr, higher_is_better=True
    )
    return Figure(metric, None)


def embeddings(model: Any, sequences: list[list[int]], share: Share = no_share) -> torch.Tensor:
    """The embedding of each sequence, in the order given: float64 (n, hidden)."""
    order: list[int] = []
    found = []
    with torch.inference_mode():
        for numbers in batches([len(sequence) for sequence in sequences]):
            found.append(_embed(model, *padded([sequences[number] for number in numbers])))
            order += numbers
            share(len(order) / len(sequences))
    together = torch.cat(found)
    result = torch.empty_like(together)
    result[torch.tensor(order)] = together
    return result


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


TASK = ModelTask(auto_class="AutoModel", needs_every_weight=False, reader=text_reader, prepare=prepare)
