"""How well a language model predicts a text, and how much worse than the original."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import torch

from tersor.evaluate.causal import require_causal
from tersor.evaluate.data import EvaluationData
from tersor.evaluate.statistics import ratio_and_stderr
from tersor.evaluate.task import Task
from tersor.evaluate.tokens import common_window, windows
from tersor.types import Metric


def measure(model: Any, reference: Any, tokenizer: Any, data: EvaluationData, seed: int) -> list[Metric]:
    """Perplexity on the data's first 64 windows of 512 tokens, and its ratio to the original's.

    Protocol: non-overlapping windows, see `tokens.windows`; in each, every token but the first is predicted from
    those before it. Loss is in nats per predicted token, perplexity is its exponential. n is the number of windows,
    which are taken as independent; standard errors of exponentials are first-order (delta method).
    The ratio's is that of the paired differences, so it is much smaller than the perplexity's own.
    `seed` is not used: nothing is drawn.
    """
    texts = windows(tokenizer, data.text, common_window(model, reference), data.name)
    require_causal(model, texts[0])
    counts = np.array([text.shape[1] - 1 for text in texts], dtype=np.float64)
    losses = np.array([window_loss(model, text) for text in texts])
    original = losses if model is reference else np.array([window_loss(reference, text) for text in texts])
    loss, loss_stderr = ratio_and_stderr(losses, counts)
    difference, difference_stderr = ratio_and_stderr(losses - original, counts)
    perplexity, ratio, n = math.exp(loss), math.exp(difference), len(texts)
    return [
        Metric("perplexity", perplexity, "per token", n, perplexity * loss_stderr, higher_is_better=False),
        Metric("perplexity_ratio", ratio, "x original", n, ratio * difference_stderr, higher_is_better=False),
        Metric("loss", loss, "nats per token", n, loss_stderr, higher_is_better=False),
    ]


def window_loss(model: Any, text: torch.Tensor) -> float:
    """Sum of -log p(token | those before it) over all tokens but the first, in nats.

    text: int64 (1, length), length >= 2.
    """
    with torch.inference_mode():
        logits = model(input_ids=text.to(model.device)).logits[0, :-1].float()  # (length - 1, vocabulary)
        targets = text[0, 1:].to(logits.device)
        losses = torch.nn.functional.cross_entropy(logits, targets, reduction="none")
        return float(losses.to(torch.float64).sum())


TASK = Task(auto_class="AutoModelForCausalLM", needs_every_weight=True, measure=measure)
