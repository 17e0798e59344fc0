"""Batches of sequences through a model with a classifier on top."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import torch

from tersor.evaluate.task import Share

# One core is as quick with more; padding and memory are less with fewer.
_BATCH_TOKENS = 2048


def class_predictions(
    model: Any,
    sequences: Sequence[Sequence[int]],
    positions: Sequence[Sequence[int]],
    pad_id: int,
    share: Share,
) -> list[list[int]]:
    """The most likely class at the given positions of each sequence (token classification)."""
    found: list[list[int]] = [[] for _ in sequences]
    for numbers, logits in _run(model, sequences, pad_id, share):
        best = logits.argmax(-1).tolist()
        for number, row in zip(numbers, best, strict=True):
            found[number] = [row[position] for position in positions[number]]
    return found


def sequence_logits(
    model: Any,
    sequences: Sequence[Sequence[int]],
    pad_id: int,
    share: Share,
    token_types: Sequence[Sequence[int]] | None = None,
) -> torch.Tensor:
    """The logits of each sequence, float32 (n, classes) (sequence classification)."""
    found: list[torch.Tensor | None] = [None] * len(sequences)
    for numbers, logits in _run(model, sequences, pad_id, share, token_types):
        for number, row in zip(numbers, logits.float().cpu(), strict=True):
            found[number] = row
    return torch.stack([row for row in found if row is not None])


def _run(
    model: Any,
    sequences: Sequence[Sequence[int]],
    pad_id: int,
    share: Share,
    token_types: Sequence[Sequence[int]] | None = None,
) -> Iterator[tuple[list[int], torch.Tensor]]:
    """Numbers of sequences of like length, and the model's logits for them."""
    n_done = 0
    for numbers in batches([len(sequence) for sequence in sequences]):
        ids, mask = padded([sequences[number] for number in numbers], pad_id)
        inputs = {"input_ids": ids.to(model.device), "attention_mask": mask.to(model.device)}
        if token_types is not None:
            inputs["token_type_ids"] = padded([token_types[number] for number in numbers])[0].to(model.device)
        with torch.inference_mode():
            yield numbers, model(**inputs).logits
        n_done += len(numbers)
        share(n_done / len(sequences))


def batches(lengths: Sequence[int]) -> Iterator[list[int]]:
    """Numbers of sequences, shortest first, whose padded batches have at most 2,048 tokens (or are alone)."""
    order = sorted(range(len(lengths)), key=lambda number: lengths[number])
    start = 0
    while start < len(order):
        end = start + 1
        while end < len(order) and (end + 1 - start) * lengths[order[end]] <= _BATCH_TOKENS:
            end += 1
        yield order[start:end]
        start = end


def padded(batch: Sequence[Sequence[int]], pad_id: int = 0) -> tuple[torch.Tensor, torch.Tensor]:
    """Token ids and mask of sequences, int64 (batch, length), padded on the right."""
    ids = torch.full((len(batch), max(map(len, batch))), pad_id, dtype=torch.int64)
    mask = torch.zeros_like(ids)
    for row, tokens in enumerate(batch):
        ids[row, : len(tokens)] = torch.tensor(tokens)
        mask[row, : len(tokens)] = 1
    return ids, mask
