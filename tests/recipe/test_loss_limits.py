from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tersor.errors import UsageError
from tersor.recipe import parse_loss


@pytest.mark.parametrize(
    ("text", "metric", "amount", "meant"),
    [
        ("1%", None, 0.01, None),
        ("0.5 %", "embedding", 0.005, "embedding"),
        ("0.02", "perplexity", 0.02, "perplexity"),
        ("0.02nats", None, 0.02, "kl"),
        (".1nat", "kl", 0.1, "kl"),
    ],
)
def test_loss_is_a_fraction_of_the_metric_or_nats(
    text: str, metric: str | None, amount: float, meant: str | None
) -> None:
    limit = parse_loss(text, metric)
    assert limit.amount == pytest.approx(amount)
    assert limit.metric == meant


@pytest.mark.parametrize(
    ("text", "metric", "message"),
    [
        ("0%", None, "above 0"),
        ("-1%", None, "above 0"),
        ("one percent", None, "a number"),
        ("2000%", None, "at most 10"),
        ("0.1nats", "embedding", "nats measure kl, not embedding"),
        ("1%", "perplexty", "did you mean 'perplexity'"),
    ],
)
def test_loss_that_cannot_work_says_why(text: str, metric: str | None, message: str) -> None:
    with pytest.raises(UsageError) as caught:
        parse_loss(text, metric)
    assert message in str(caught.value)


@given(st.text(max_size=20))
def test_any_text_is_a_limit_or_a_usage_error(text: str) -> None:
    try:
        limit = parse_loss(text)
    except UsageError:
        return
    assert 0 < limit.amount <= 10
