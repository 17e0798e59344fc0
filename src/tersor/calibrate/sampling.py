"""Text that a decoder writes itself."""

from __future__ import annotations

import torch
from torch import nn

from tersor.calibrate.threads import single_thread

N_STREAMS = 32


def is_decoder(model: nn.Module) -> bool:
    """The model predicts the next token: a causal language model of transformers, with its head."""
    return type(model).__name__.endswith(("ForCausalLM", "LMHeadModel")) and hasattr(model, "generate")


def sample_sequences(model: nn.Module, n_tokens: int, length: int, seed: int, start: int) -> list[list[int]]:
    """About n_tokens sampled at temperature 1 from `start`, in sequences of `length`. Deterministic for a seed."""
    sequences: list[list[int]] = []
    was_training = model.training
    model.eval()
    with single_thread(), torch.random.fork_rng(devices=[]), torch.no_grad():
        torch.manual_seed(seed)
        while sum(map(len, sequences)) < n_tokens:
            missing = n_tokens - sum(map(len, sequences))
            n_streams = max(1, min(N_STREAMS, -(-missing // length)))
            prompt = torch.full((n_streams, 1), start)
            sequences += _continue(model, prompt, length).tolist()
    model.train(was_training)
    return sequences


def _continue(model: nn.Module, ids: torch.Tensor, length: int) -> torch.Tensor:
    """Sample tokens until each row is `length` long; a model's end token does not stop a row."""
    past = None
    step = ids
    while ids.shape[1] < length:
        output = model(input_ids=step, past_key_values=past, use_cache=True)
        past = output.past_key_values
        probabilities = torch.softmax(output.logits[:, -1].double(), dim=-1)
        step = torch.multinomial(probabilities, 1)
        ids = torch.cat([ids, step], dim=1)
    return ids
