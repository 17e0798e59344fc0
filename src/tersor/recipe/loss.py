"""How much worse the result may be: 1% of a metric, or nats of KL divergence."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Literal

from tersor.errors import UsageError
from tersor.registry import did_you_mean

Metric = Literal["perplexity", "kl", "embedding"]
METRICS: tuple[Metric, ...] = ("perplexity", "kl", "embedding")
LOSS_FORMS = "1% or 0.01 (of the metric), 0.02nats (of KL divergence)"
MAX_LOSS = 10.0

_LOSS = re.compile(r"(\d{1,9}(?:\.\d{0,18})?|\.\d{1,18}) ?(%|nats?|)", re.ASCII)


@dataclass(frozen=True, slots=True)
class LossLimit:
    """The largest loss allowed; `amount` is in (0, 10].

    perplexity: its relative increase. embedding: 1 - cosine to the original's. kl: nats per prediction.
    metric: None: perplexity for causal language models, KL for other models with logits, else embedding.
    """

    amount: float
    metric: Metric | None
    text: str


def parse_loss(text: str, metric: str | None = None) -> LossLimit:
    """Return the limit that `text` names: 1%, 0.01, 0.02nats. Numbers of 1 and more need a unit.

    Raises: UsageError, which says how to write what was probably meant.
    """
    stripped = text.strip()
    match = _LOSS.fullmatch(stripped)
    if match is None:
        why = (
            "it must be above 0"
            if stripped.startswith("-")
            else "it must be a number, with % or nats if need be"
        )
        raise _loss_error(text, why)
    chosen = check_metric(metric)
    amount, unit = float(match[1]), match[2]
    if unit == "" and amount >= 1:
        raise _loss_error(text, f"it has no unit; write {match[1]}% or {match[1]}nats")
    if unit == "%":
        amount /= 100
    if unit.startswith("nat") and chosen not in (None, "kl"):
        raise _loss_error(text, f"nats measure kl, not {chosen}")
    if not 0 < amount <= MAX_LOSS:
        raise _loss_error(text, f"it must be above 0 and at most {MAX_LOSS:g} ({MAX_LOSS:.0%})")
    return LossLimit(amount, "kl" if unit.startswith("nat") else chosen, stripped)


def check_metric(metric: str | None) -> Metric | None:
    """Return `metric` if there is one of that name. Raises: UsageError naming the nearest."""
    for known in METRICS:
        if metric == known:
            return known
    if metric is None:
        return None
    raise UsageError(
        f"metric {metric!r} is unknown{did_you_mean(str(metric), METRICS)} Known: {', '.join(METRICS)}."
    )


def _loss_error(text: str, why: str) -> UsageError:
    return UsageError(f"max_loss {text!r}: {why}. A loss is {LOSS_FORMS}")
