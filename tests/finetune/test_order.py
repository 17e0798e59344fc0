"""The order of training: every sequence once, similar lengths together, the same for a seed and an epoch."""

from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from tersor.finetune.order import LengthGrouped


@given(st.lists(st.integers(1, 50), min_size=1, max_size=200), st.integers(1, 16), st.integers(0, 5))
def test_every_sequence_comes_once(lengths: list[int], batch_size: int, epoch: int) -> None:
    order = LengthGrouped(lengths, batch_size, seed=0)
    order.set_epoch(epoch)
    assert sorted(order) == list(range(len(lengths)))
    assert len(order) == len(lengths)


def test_an_epoch_has_an_order_of_its_own_that_repeats() -> None:
    lengths = np.random.default_rng(0).integers(1, 40, 300)
    first, second = LengthGrouped(lengths, 8, seed=3), LengthGrouped(lengths, 8, seed=3)
    one = list(first)
    first.set_epoch(1)
    assert list(first) != one
    assert list(second) == one


def test_sequences_of_a_batch_have_similar_lengths() -> None:
    lengths = np.random.default_rng(0).integers(1, 100, 800)
    order = np.array(list(LengthGrouped(lengths, 16, seed=0)))
    spread = np.ptp(lengths[order].reshape(-1, 16), axis=1)
    assert spread.mean() < 5
