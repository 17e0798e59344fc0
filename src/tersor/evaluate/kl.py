"""How far a language model's predictions move: KL divergence from the original's."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch

from tersor.errors import UsageError
from tersor.evaluate.causal import require_causal
from tersor.evaluate.data import EvaluationData
from tersor.evaluate.statistics import ratio_and_stderr
from tersor.evaluate.task import Task
from tersor.evaluate.tokens import common_window, windows
from tersor.types import Metric


def measure(model: Any, reference: Any, tokenizer: Any, data: EvaluationData, seed: int) -> list[Metric]:
    """Mean KL(original || model) per predicted position, and how often both predict the same token first.

    Windows and positions are those of the task perplexity; n is the number of windows. `seed` is not used.
    Raises: UsageError if the two vocabularies differ in size.
    """
    texts = windows(tokenizer, data.text, common_window(model, reference), data.name)
    require_causal(model, texts[0])
    counts = np.array([text.shape[1] - 1 for text in texts], dtype=np.float64)
    pairs = [_compare(model, reference, text) for text in texts]
    kl, kl_stderr = ratio_and_stderr(np.array([pair[0] for pair in pairs]), counts)
    agreement, agreement_stderr = ratio_and_stderr(np.array([pair[1] for pair in pairs]), counts)
    n = len(texts)
    return [
        Metric("kl", kl, "nats per token", n, kl_stderr, higher_is_better=False),
        Metric("top1_agreement", agreement, "of positions", n, agreement_stderr, higher_is_better=True),
    ]


def _compare(model: Any, reference: Any, text: torch.Tensor) -> tuple[float, float]:
    """Sum of the divergences and number of equal first choices over all positions but the last."""
    with torch.inference_mode():
        original = _log_probabilities(reference, text)
        other = original if model is reference else _log_probabilities(model, text)
        if original.shape != other.shape:
            raise UsageError(
                f"{model.config.name_or_path}: vocabulary of {other.shape[1]} tokens, "
                f"the original has {original.shape[1]}; KL needs equal ones"
            )
        # One position at a time in the sum: 49,152 tokens x 512 positions would be 100 MB for each term.
        divergence = sum(float((p.exp() * (p - q)).sum()) for p, q in zip(original, other, strict=True))
        return divergence, float((original.argmax(1) == other.argmax(1)).sum())


def _log_probabilities(model: Any, text: torch.Tensor) -> torch.Tensor:
    """log p of every token of the vocabulary, float32 on the CPU (length - 1, vocabulary)."""
    logits = model(input_ids=text.to(model.device)).logits[0, :-1].float()
    return torch.log_softmax(logits, dim=1).cpu()


TASK = Task(auto_class="AutoModelForCausalLM", needs_every_weight=True, measure=measure)
