"""Losses against formulas written out here."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

import tersor
from models import VOCAB_SIZE, tiny_bert, tiny_llama
from tersor.errors import UsageError
from tersor.pipeline.loss import LossMeter, natural_metric


@pytest.fixture(scope="module")
def bert(tmp_path_factory: pytest.TempPathFactory) -> Any:
    return tersor.load(tiny_bert(tmp_path_factory.mktemp("bert") / "model"))


@pytest.fixture(scope="module")
def llama(tmp_path_factory: pytest.TempPathFactory) -> Any:
    return tersor.load(tiny_llama(tmp_path_factory.mktemp("llama") / "model"))


def sequences() -> list[list[int]]:
    random = np.random.RandomState(0)
    return [random.randint(5, VOCAB_SIZE, length).tolist() for length in (7, 20, 3, 12)]


def disturbed(model: Any, scale: float = 0.05) -> Any:
    import copy

    changed = copy.deepcopy(model)
    generator = torch.Generator().manual_seed(1)
    with torch.no_grad():
        for parameter in changed.parameters():
            parameter += scale * torch.randn(parameter.shape, generator=generator)
    return changed


@pytest.mark.parametrize("metric", ["embedding", "kl", "perplexity"])
def test_original_loses_nothing(llama: Any, tmp_path: Path, metric: Any) -> None:
    loss = LossMeter(llama, sequences(), metric, tmp_path / "s").measure(llama)
    assert (loss.value, loss.metric, loss.n) == (pytest.approx(0, abs=1e-12), metric, 4)


def test_embedding_loss_is_the_mean_of_one_minus_cosine(bert: Any, tmp_path: Path) -> None:
    changed = disturbed(bert)
    with torch.no_grad():
        states = [
            [model(torch.tensor([ids])).last_hidden_state[0].double().mean(dim=0) for ids in sequences()]
            for model in (bert, changed)
        ]
    expected = [float(1 - torch.cosine_similarity(a, b, dim=0)) for a, b in zip(*states, strict=True)]
    loss = LossMeter(bert, sequences(), None, tmp_path / "s").measure(changed)
    assert loss.metric == "embedding"
    assert loss.value == pytest.approx(np.mean(expected), rel=1e-4)
    assert loss.stderr == pytest.approx(np.std(expected) / 2, rel=1e-3)


def predictions(model: Any) -> list[torch.Tensor]:
    with torch.no_grad():
        return [model(torch.tensor([ids])).logits[0].double().log_softmax(dim=-1) for ids in sequences()]


def test_perplexity_loss_is_its_relative_increase_per_token(llama: Any, tmp_path: Path) -> None:
    changed = disturbed(llama)
    totals = []
    for model in (llama, changed):
        rows = zip(predictions(model), sequences(), strict=True)
        losses = [-p[torch.arange(len(ids) - 1), torch.tensor(ids[1:])].sum() for p, ids in rows]
        totals.append(float(torch.stack(losses).sum()))
    n_predicted = sum(len(ids) - 1 for ids in sequences())
    loss = LossMeter(llama, sequences(), None, tmp_path / "s").measure(changed)
    assert loss.metric == "perplexity"
    assert loss.value == pytest.approx(np.expm1((totals[1] - totals[0]) / n_predicted), rel=1e-4)


def test_kl_loss_is_nats_per_prediction(llama: Any, tmp_path: Path) -> None:
    changed = disturbed(llama)
    pairs = zip(predictions(llama), predictions(changed), strict=True)
    divergences = torch.cat([(p.exp() * (p - q)).sum(dim=-1) for p, q in pairs])
    loss = LossMeter(llama, sequences(), "kl", tmp_path / "s").measure(changed)
    assert loss.value == pytest.approx(float(divergences.mean()), rel=1e-4)


def test_metrics_that_a_model_lacks_are_refused(bert: Any, tmp_path: Path) -> None:
    for metric in ("kl", "perplexity"):
        with pytest.raises(UsageError, match=f"no logits, so no {metric}; use metric: embedding"):
            LossMeter(bert, sequences(), metric, tmp_path / metric)  # type: ignore[arg-type]
    with pytest.raises(UsageError, match="none is left over"):
        LossMeter(bert, [], "embedding", tmp_path / "nothing")


def test_natural_metric_follows_the_model(bert: Any, llama: Any) -> None:
    assert natural_metric(bert, sequences()) == "embedding"
    assert natural_metric(llama, sequences()) == "perplexity"
