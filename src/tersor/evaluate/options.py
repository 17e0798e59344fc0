"""What a user can say about how to measure, beside the task, the data and the seed."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TypedDict

from tersor.errors import UsageError


class OptionWords(TypedDict, total=False):
    """The keyword arguments of `evaluate`; see `Options`."""

    split: str | None
    limit: int | None
    stride: int | None
    text_column: str | Sequence[str] | None
    label_column: str | None
    lengths: Sequence[int]
    batch_sizes: Sequence[int]
    rounds: int


@dataclass(frozen=True, slots=True)
class Options:
    """Each is used by the tasks named, and ignored by others.

    split: of a data folder, "train", "dev" or "test" (ner, classification). limit: measure the first N sentences, texts
    or windows only; None: all (perplexity, kl: 64 windows; embedding: 300 sentences). stride: how far windows of text
    move, None: by their whole length (perplexity). text_column, label_column: names in a table (classification);
    two text columns are pairs. lengths, batch_sizes: tokens of a sequence and sequences at once, every combination;
    rounds: timings of each (speed).
    Raises: UsageError.
    """

    split: str | None = None
    limit: int | None = None
    stride: int | None = None
    text_column: str | Sequence[str] | None = None
    label_column: str | None = None
    lengths: Sequence[int] = (32, 128)
    batch_sizes: Sequence[int] = (1, 8)
    rounds: int = 20

    def __post_init__(self) -> None:
        for name, value in (("limit", self.limit), ("stride", self.stride), ("rounds", self.rounds)):
            if value is not None and value < 1:
                raise UsageError(f"{name}={value}: needed: at least 1")
        for name, values in (("lengths", self.lengths), ("batch_sizes", self.batch_sizes)):
            if not values or min(values) < 1:
                raise UsageError(f"{name}={list(values)}: needed: numbers of at least 1")
