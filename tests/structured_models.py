"""Tiny models of every family that structured pruning knows, and what they say about a fixed sequence."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from transformers import (
    DistilBertConfig,
    DistilBertModel,
    MistralConfig,
    MistralForCausalLM,
    Qwen2Config,
    Qwen2ForCausalLM,
    Qwen3Config,
    Qwen3ForCausalLM,
    RobertaConfig,
    RobertaModel,
)

import models

VOCABULARY = models.VOCAB_SIZE
_GROUPED: dict[str, Any] = {
    "vocab_size": VOCABULARY,
    "hidden_size": 32,
    "num_hidden_layers": 3,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "intermediate_size": 64,
    "max_position_embeddings": 128,
    "initializer_range": 0.2,
    "pad_token_id": None,
}


def _roberta() -> Any:
    return RobertaModel(
        RobertaConfig(
            vocab_size=VOCABULARY,
            hidden_size=32,
            num_hidden_layers=3,
            num_attention_heads=4,
            intermediate_size=64,
            max_position_embeddings=130,
            initializer_range=0.2,
        )
    )


def _distilbert() -> Any:
    config = DistilBertConfig(
        vocab_size=VOCABULARY,
        dim=32,
        n_layers=3,
        n_heads=4,
        hidden_dim=64,
        max_position_embeddings=128,
        initializer_range=0.2,
    )
    return DistilBertModel(config)


_MAKE: dict[str, Callable[[], Any]] = {
    "roberta": _roberta,
    "distilbert": _distilbert,
    "mistral": lambda: MistralForCausalLM(MistralConfig(**_GROUPED, sliding_window=8)),
    "qwen2": lambda: Qwen2ForCausalLM(Qwen2Config(**_GROUPED, tie_word_embeddings=False)),
    "qwen3": lambda: Qwen3ForCausalLM(Qwen3Config(**_GROUPED, head_dim=16)),
}
FAMILIES = ("bert", "gpt2", "llama", *_MAKE)
DECODERS = ("gpt2", "llama", "mistral", "qwen2", "qwen3")


IDS = torch.arange(7, 29)[None]


def make_family(family: str, folder: Path) -> None:
    """Write a model of three layers, four heads and 32 channels; decoders but GPT-2 share keys and values by two."""
    if family not in _MAKE:
        getattr(models, f"tiny_{family}")(folder, layers=3)
        return
    torch.manual_seed(0)
    model = _MAKE[family]()
    with torch.no_grad():
        for parameter in model.parameters():  # norms and biases too: all of them shall matter
            parameter.add_(0.1 * torch.randn(parameter.shape))
    model.save_pretrained(folder)


@torch.no_grad()
def outputs(model: Any, ids: torch.Tensor = IDS) -> torch.Tensor:
    """Logits, or last hidden states."""
    found = model(input_ids=ids)
    return found.logits if hasattr(found, "logits") else found.last_hidden_state
