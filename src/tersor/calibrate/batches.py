"""Token sequences as padded batches of about equal cost."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch


@dataclass(frozen=True, slots=True)
class Batch:
    """ids int64 (sequences, length), padded with 0 at the end; mask bool, True on tokens."""

    ids: torch.Tensor
    mask: torch.Tensor

    def inputs(self) -> dict[str, torch.Tensor]:
        return {"input_ids": self.ids, "attention_mask": self.mask.long()}


def make_batches(sequences: Sequence[Sequence[int]], max_tokens: int) -> list[Batch]:
    """Batches of at most max_tokens (padding included; one long sequence may exceed it), similar lengths together."""
    batches: list[Batch] = []
    current: list[Sequence[int]] = []
    for sequence in sorted(sequences, key=len):
        if current and (len(current) + 1) * len(sequence) > max_tokens:
            batches.append(_pad(current))
            current = []
        current.append(sequence)
    if current:
        batches.append(_pad(current))
    return batches


def _pad(sequences: list[Sequence[int]]) -> Batch:
    length = max(map(len, sequences))
    ids = torch.zeros(len(sequences), length, dtype=torch.long)
    mask = torch.zeros(len(sequences), length, dtype=torch.bool)
    for row, sequence in enumerate(sequences):
        ids[row, : len(sequence)] = torch.tensor(sequence)
        mask[row, : len(sequence)] = True
    return Batch(ids, mask)
