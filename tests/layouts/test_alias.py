"""Tied tensors: stored as a number, without head or blocks."""

from __future__ import annotations

import numpy as np
import pytest

from tersor.errors import CorruptError, UsageError
from tersor.layouts import Alias, Context, Dense, layout_of, make_layout
from tersor.types import TensorSpec

SPEC = TensorSpec("lm_head.weight", "F32", (3, 4, 5))


def test_an_alias_is_the_number_of_its_target() -> None:
    context = Context(tensor_numbers={"other": 0, "embed.weight": 1})
    encoded = make_layout("alias/1").encode(SPEC, Alias("embed.weight"), context)
    assert encoded.meta == 1
    assert (encoded.head, encoded.block_rows, encoded.block_columns) == (b"", 0, 0)
    assert list(encoded.blocks) == []


def test_an_alias_has_the_matrix_of_its_spec() -> None:
    assert make_layout("alias/1").matrix_shape(SPEC, 1) == (12, 5)


def test_an_alias_cannot_be_decoded_by_itself() -> None:
    with pytest.raises(CorruptError, match=r"'lm_head.weight': an alias has no blocks"):
        make_layout("alias/1").decoder(SPEC, 0, memoryview(b""), 0, Context())


def test_only_an_alias_can_be_stored_as_one() -> None:
    with pytest.raises(UsageError, match="encodes Alias, got Dense"):
        make_layout("alias/1").encode(SPEC, Dense(np.zeros(SPEC.shape, np.float32)), Context())


def test_each_form_in_memory_names_its_layout() -> None:
    assert layout_of(Alias("x")) == "alias/1"
    assert layout_of(Dense(np.zeros(1))) == "dense/1"
