"""Blocks are found in every family, on the meta device too; what is not known is named."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

import models
from structured_models import FAMILIES
from tersor.errors import UsageError
from tersor.load import load_checked
from tersor.structured.anatomy import find_anatomy


@pytest.mark.parametrize("family", FAMILIES)
def test_every_family_is_described(family: str, load: Callable[[str], Any]) -> None:
    anatomy = find_anatomy(load(family))
    assert len(anatomy.blocks) == 3
    shared = 2 if family in ("llama", "mistral", "qwen2", "qwen3") else 4
    for attention in anatomy.attentions():
        assert (attention.n_heads, attention.n_key_value_heads) == (4, shared)
        assert attention.head_size == (16 if family == "qwen3" else 8)
    assert {part.n_neurons for part in anatomy.feed_forwards()} == {128 if family == "gpt2" else 64}
    assert all(not block.unknown for block in anatomy.blocks)


def test_models_without_weights_are_described(load: Callable[[str], Any]) -> None:
    model = load("bert")
    with torch.device("meta"):
        empty = type(model)(model.config)
    assert find_anatomy(empty) == find_anatomy(model)


@pytest.mark.parametrize(("family", "where"), [("albert", "none"), ("t5", "none")])
def test_other_models_are_refused(family: str, where: str, tmp_path: Path) -> None:
    model = load_checked(getattr(models, f"tiny_{family}")(tmp_path), dtype="float32")[0]
    with pytest.raises(UsageError, match=f"BERT, DistilBERT, GPT-2 or Llama; found: {where}"):
        find_anatomy(model)


def test_experts_are_no_known_feed_forward_layer(tmp_path: Path) -> None:
    anatomy = find_anatomy(load_checked(models.tiny_mixtral(tmp_path), dtype="float32")[0])
    assert anatomy.attentions()
    with pytest.raises(
        UsageError, match=r"model\.layers\.0: no feed-forward layer of a known layout.*mlp\.experts"
    ):
        anatomy.feed_forwards()


def test_parameters_across_heads_are_not_known(load: Callable[[str], Any]) -> None:
    model = load("llama")
    attention = model.get_submodule("model.layers.1.self_attn")
    attention.sinks = nn.Parameter(torch.zeros(4))
    with pytest.raises(UsageError, match=r"model\.layers\.1: no attention of a known layout"):
        find_anatomy(model).attentions()
