"""How well a language model predicts a text, and how much worse than the original."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch

from tersor.evaluate.causal import require_causal
from tersor.evaluate.data import text_reader
from tersor.evaluate.one_by_one import Measurer, ModelTask, Subject
from tersor.evaluate.samples import Items
from tersor.evaluate.task import Figure, Measurement, Share, counted_figure
from tersor.evaluate.tokens import MAX_WINDOWS, Window, position_limit, windows_of
from tersor.types import Metric


def prepare(subject: Subject) -> Measurer:
    """Measures perplexity on the data's first 64 windows of 512 tokens (or `limit` of them), and its ratio to the
    original's.

    Protocol: see `tokens.windows_of`. Without a stride windows do not overlap; in each, every token but the first is
    predicted from those before it. With one, only the last `stride` tokens of each later window count, so that all of
    them see at least 512 - stride tokens. Loss is in nats per predicted token, perplexity is its exponential;
    word_perplexity is that per word of the text between white space, so that tokenizers can be compared.
    n is the number of windows, which are taken as independent. The ratio's standard error is that of paired windows.
    """
    options = subject.options
    length = min(512, position_limit(subject.original))
    windows = windows_of(
        subject.tokenizer,
        subject.data.text,
        length,
        subject.data.name,
        stride=options.stride,
        limit=options.limit or MAX_WINDOWS,
    )
    require_causal(subject.original, windows[0].ids)
    counts = np.array([[window.n_scored, window.n_words] for window in windows], dtype=np.float64)
    original: list[np.ndarray] = []

    def measure(model: Any, share: Share) -> Measurement:
        losses = window_losses(model, windows, share)
        original.append(losses)
        items = Items(np.column_stack([losses, original[0], counts]), subject.seed)
        return Measurement(_figures(items), details={"stride": options.stride or length, "window": length})

    return measure


def _figures(items: Items) -> tuple[Figure, ...]:
    """items: columns are the windows' losses, the original's, tokens and words."""
    return (
        counted_figure(
            "perplexity", "per token", items, lambda s: np.exp(s[..., 0] / s[..., 2]), higher_is_better=False
        ),
        _ratio(items),
        counted_figure(
            "word_perplexity",
            "per word",
            items,
            lambda s: np.exp(s[..., 0] / s[..., 3]),
            higher_is_better=False,
        ),
        counted_figure(
            "loss", "nats per token", items, lambda s: s[..., 0] / s[..., 2], higher_is_better=False
        ),
    )


def _ratio(items: Items) -> Figure:
    found = counted_figure(
        "perplexity_ratio",
        "x original",
        items,
        lambda sums: np.exp((sums[..., 0] - sums[..., 1]) / sums[..., 2]),
        higher_is_better=False,
        test="none",
    )
    # The sums are of equal losses for the original, but their difference may round to something near 0.
    if np.array_equal(items.rows[:, 0], items.rows[:, 1]):
        metric = Metric("perplexity_ratio", 1.0, "x original", len(items.rows), 0.0, higher_is_better=False)
        return Figure(metric, found.samples)
    return found


def window_losses(model: Any, windows: Sequence[Window], share: Share) -> np.ndarray:
    """Sum of -log p over the scored tokens of each window, in nats: float64 (n,)."""
    losses = []
    for number, window in enumerate(windows, start=1):
        losses.append(window_loss(model, window.ids, window.n_scored))
        share(number / len(windows))
    return np.array(losses)


def window_loss(model: Any, text: torch.Tensor, n_scored: int | None = None) -> float:
    """Sum of -log p(token | those before it) over the last `n_scored` tokens (None: all but the first), in nats.

    text: int64 (1, length), length >= 2; n_scored < length.
    """
    n_scored = text.shape[1] - 1 if n_scored is None else n_scored
    with torch.inference_mode():
        logits = (
            model(input_ids=text.to(model.device)).logits[0, -n_scored - 1 : -1].float()
        )  # (n_scored, vocabulary)
        targets = text[0, -n_scored:].to(logits.device)
        losses = torch.nn.functional.cross_entropy(logits, targets, reduction="none")
        return float(losses.to(torch.float64).sum())


TASK = ModelTask(
    auto_class="AutoModelForCausalLM", needs_every_weight=True, reader=text_reader, prepare=prepare
)
