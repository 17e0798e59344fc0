"""How far a language model's predictions move: KL divergence from the original's."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch

from tersor.errors import UsageError
from tersor.evaluate.causal import require_causal
from tersor.evaluate.data import text_reader
from tersor.evaluate.one_by_one import Measurer, ModelTask, Subject
from tersor.evaluate.samples import Items, column_mean
from tersor.evaluate.task import Measurement, Share, counted_figure
from tersor.evaluate.tokens import MAX_WINDOWS, position_limit, windows_of


def prepare(subject: Subject) -> Measurer:
    """Measures the mean KL(original || model) per predicted position, and how often both predict the same token first.

    Windows and positions are those of the task perplexity without a stride; n is the number of windows.
    """
    length = min(512, position_limit(subject.original))
    limit = subject.options.limit or MAX_WINDOWS
    found = windows_of(
        subject.tokenizer, subject.data.text, length, subject.data.name, stride=None, limit=limit
    )
    texts = [window.ids for window in found]
    require_causal(subject.original, texts[0])

    def measure(model: Any, share: Share) -> Measurement:
        rows = []
        for number, text in enumerate(texts, start=1):
            rows.append([*compare(model, subject.original, text), text.shape[1] - 1])
            share(number / len(texts))
        items = Items(np.array(rows, dtype=np.float64), subject.seed)
        return Measurement(
            (
                counted_figure(
                    "kl", "nats per token", items, column_mean(0), higher_is_better=False, test="none"
                ),
                counted_figure(
                    "top1_agreement",
                    "of positions",
                    items,
                    column_mean(1),
                    higher_is_better=True,
                    test="none",
                ),
            )
        )

    return measure


def compare(model: Any, reference: Any, text: torch.Tensor) -> tuple[float, float]:
    """Sum of the divergences and number of equal first choices over all positions but the last.

    Raises: UsageError if the two vocabularies differ in size.
    """
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


TASK = ModelTask(
    auto_class="AutoModelForCausalLM", needs_every_weight=True, reader=text_reader, prepare=prepare
)
