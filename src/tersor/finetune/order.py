"""The order in which sequences are trained on: batches of similar length, anew in every epoch."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np
from torch.utils.data import Sampler

# Sequences are sorted by length within so many batches: less padding costs no speed, and chance stays.
BATCHES_SORTED_TOGETHER = 50


class LengthGrouped(Sampler[int]):
    """Indices in an order that depends on the seed and the epoch alone, so that a resumed run goes on with the same.

    transformers' own sampler draws from the global generator when an epoch starts, which a run that was killed within
    the epoch cannot repeat.
    """

    def __init__(self, lengths: Sequence[int], batch_size: int, seed: int) -> None:
        self._lengths = np.asarray(lengths)
        self._batch_size = batch_size
        self._seed = seed
        self._epoch = 0

    def set_epoch(self, epoch: int) -> None:
        """Called by accelerate before each epoch."""
        self._epoch = epoch

    def __len__(self) -> int:
        return len(self._lengths)

    def __iter__(self) -> Iterator[int]:
        generator = np.random.default_rng([self._seed, self._epoch])
        shuffled = generator.permutation(len(self._lengths))
        size = self._batch_size * BATCHES_SORTED_TOGETHER
        batches: list[np.ndarray] = []
        for first in range(0, len(shuffled), size):
            part = shuffled[first : first + size]
            part = part[np.argsort(-self._lengths[part], kind="stable")]
            batches += [part[i : i + self._batch_size] for i in range(0, len(part), self._batch_size)]
        full = [batch for batch in batches if len(batch) == self._batch_size]
        short = [batch for batch in batches if len(batch) < self._batch_size]
        # A short batch in the middle would shift all that follow: batches are cut anew from the sequence of indices.
        order = [full[number] for number in generator.permutation(len(full))] + short
        for batch in order:
            yield from (int(index) for index in batch)
