from __future__ import annotations

import copy
from pathlib import Path

import pytest
import torch

from measuring import measured, metrics_of
from tersor.errors import UsageError
from tersor.evaluate.data import EvaluationData
from tersor.evaluate.embedding import _cosine_distance, embeddings, prepare
from tersor.evaluate.tokens import load_tokenizer


def disturbed(model, amount: float):
    """A copy of the model with noise added to every matrix."""
    other = copy.deepcopy(model)
    generator = torch.Generator().manual_seed(0)
    with torch.no_grad():
        for weight in other.parameters():
            if weight.dim() > 1:
                weight += amount * weight.std() * torch.randn(weight.shape, generator=generator)
    return other


@pytest.mark.parametrize("name", ["bert", "llama", "gpt2"])
def test_original_has_no_error_and_an_equal_copy_neither(
    name: str, folders: dict[str, Path], prose: EvaluationData
) -> None:
    from tersor.load import load

    model = load(folders[name], "AutoModel")
    tokenizer = load_tokenizer(folders[name])
    for other in (model, copy.deepcopy(model)):
        error, order = metrics_of(measured(prepare, model, other, tokenizer, prose))
        assert (error.value, error.stderr, error.n) == (0.0, 0.0, 20)
        assert (order.value, order.stderr, order.n) == (1.0, 0.0, 20)


def test_more_noise_gives_more_error(bert, folders: dict[str, Path], prose: EvaluationData) -> None:
    tokenizer = load_tokenizer(folders["bert"])
    found = [
        metrics_of(measured(prepare, bert, disturbed(bert, amount), tokenizer, prose))
        for amount in (0.01, 0.03, 0.1, 0.3)
    ]
    errors, orders = zip(*found, strict=True)
    values = [metric.value for metric in errors]
    correlations = [metric.value for metric in orders]
    assert correlations == sorted(correlations, reverse=True)
    assert all(metric.stderr > 0 for metric in orders)
    assert values == sorted(values)
    assert 0 < values[0] < values[-1] <= 2
    assert all(0 < metric.stderr < metric.value for metric in errors)


def test_padding_does_not_change_an_embedding(bert) -> None:
    short, long = [2, 9, 3], list(range(5, 60))
    together = embeddings(bert, [long, short])
    alone = torch.cat([embeddings(bert, [long]), embeddings(bert, [short])])
    torch.testing.assert_close(together, alone, rtol=1e-4, atol=1e-5)


def test_distance_is_one_minus_cosine_and_keeps_its_digits_near_zero() -> None:
    left = torch.randn(5, 16, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    right = torch.randn(5, 16, dtype=torch.float64, generator=torch.Generator().manual_seed(1))
    expected = 1 - torch.nn.functional.cosine_similarity(left, right)
    torch.testing.assert_close(_cosine_distance(left, right), expected)
    # A turn by the angle 1e-9 has 1 - cos = 5e-19, below the spacing of floats at 1.
    turned = _cosine_distance(torch.tensor([[1.0, 0.0]]).double(), torch.tensor([[1.0, 1e-9]]).double())
    assert float(turned) == pytest.approx(5e-19)


def test_sentences_longer_than_the_model_are_cut(bert, folders: dict[str, Path]) -> None:
    sentence = " ".join(["extraordinarily"] * 60)
    data = EvaluationData("long", sentence, (sentence, sentence))
    found = measured(prepare, bert, disturbed(bert, 0.1), load_tokenizer(folders["bert"]), data)
    assert metrics_of(found)[0].n == 2


def test_text_without_sentences_is_refused(bert, folders: dict[str, Path]) -> None:
    with pytest.raises(UsageError, match="no sentence of 8 to 60 words"):
        measured(prepare, bert, bert, load_tokenizer(folders["bert"]), EvaluationData("numbers", "1 2 3", ()))
