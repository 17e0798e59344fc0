from __future__ import annotations

import copy
import math
from pathlib import Path

import pytest
import torch
from transformers import AutoModelForMaskedLM, BertConfig

from measuring import measured, metrics_of
from models import VOCAB_SIZE
from tersor.errors import UsageError
from tersor.evaluate.causal import require_causal
from tersor.evaluate.data import EvaluationData
from tersor.evaluate.perplexity import prepare, window_loss
from tersor.evaluate.tokens import load_tokenizer


def uniform(model):
    """A copy that gives every token the same probability."""
    other = copy.deepcopy(model)
    with torch.no_grad():
        other.lm_head.weight.zero_()
    return other


def test_uniform_model_has_the_vocabulary_as_perplexity(
    llama, folders: dict[str, Path], prose: EvaluationData
) -> None:
    model = uniform(llama)
    found = measured(prepare, model, model, load_tokenizer(folders["llama"]), prose)
    perplexity, ratio, words, loss = metrics_of(found)
    assert perplexity.value == pytest.approx(VOCAB_SIZE, rel=1e-5)
    assert perplexity.stderr == pytest.approx(0, abs=1e-3)
    assert loss.value == pytest.approx(math.log(VOCAB_SIZE), rel=1e-5)
    assert (ratio.value, ratio.stderr) == (1.0, 0.0)
    n_tokens = (
        len(prose.text.encode()) + 1 - words.n
    )  # <s>, a token a byte; the first of a window does not count
    assert words.value == pytest.approx(VOCAB_SIZE ** (n_tokens / len(prose.text.split())), rel=1e-4)


def test_ratio_is_that_of_the_perplexities_and_its_error_is_paired(
    llama, folders: dict[str, Path], prose: EvaluationData
) -> None:
    tokenizer = load_tokenizer(folders["llama"])
    other = copy.deepcopy(llama)
    with torch.no_grad():
        other.model.norm.weight *= 1.01
    original = metrics_of(measured(prepare, llama, llama, tokenizer, prose))[0]
    perplexity, ratio, _, _ = metrics_of(measured(prepare, llama, other, tokenizer, prose))
    assert ratio.value == pytest.approx(perplexity.value / original.value)
    assert 0 < ratio.stderr < perplexity.stderr / perplexity.value


def test_loss_of_a_window_is_the_sum_over_predicted_tokens(llama) -> None:
    text = torch.tensor([[1, 20, 30, 40, 50]])
    with torch.no_grad():
        expected = float(llama(input_ids=text, labels=text).loss) * 4
    assert window_loss(llama, text) == pytest.approx(expected, rel=1e-5)


def test_n_counts_windows(llama, folders: dict[str, Path], prose: EvaluationData) -> None:
    metrics = metrics_of(measured(prepare, llama, llama, load_tokenizer(folders["llama"]), prose))
    assert {metric.n for metric in metrics} == {-(-(len(prose.text.encode()) + 1) // 128)}


def test_with_a_stride_every_token_counts_once_and_sees_more(
    llama, folders: dict[str, Path], prose: EvaluationData
) -> None:
    tokenizer = load_tokenizer(folders["llama"])
    found = measured(prepare, llama, llama, tokenizer, prose, stride=32)
    assert found.details == {"stride": 32, "window": 128}
    perplexity, _, words, loss = metrics_of(found)
    ids = torch.tensor(tokenizer(prose.text)["input_ids"])
    with torch.no_grad():
        losses = []
        for start in range(0, len(ids) - 96, 32):
            logits = llama(input_ids=ids[None, start : start + 128]).logits[0, :-1]
            each = torch.nn.functional.cross_entropy(logits, ids[start + 1 : start + 128], reduction="none")
            losses.append(each if start == 0 else each[127 - 32 :])
    expected = float(torch.cat(losses).mean())
    assert sum(map(len, losses)) == len(ids) - 1
    assert loss.value == pytest.approx(expected, rel=1e-5)
    assert math.log(words.value) == pytest.approx(
        expected * (len(ids) - 1) / len(prose.text.split()), rel=1e-5
    )
    assert perplexity.n == len(losses)


def test_model_that_sees_what_it_predicts_is_refused() -> None:
    config = BertConfig(
        vocab_size=64, hidden_size=32, num_hidden_layers=1, num_attention_heads=2, initializer_range=0.5
    )
    torch.manual_seed(0)
    model = AutoModelForMaskedLM.from_config(config).eval()
    with pytest.raises(UsageError, match="sees the tokens that it should predict"):
        require_causal(model, torch.arange(5, 30)[None])


def test_causal_models_pass(llama) -> None:
    require_causal(llama, torch.arange(5, 30)[None])
    require_causal(llama, torch.tensor([[0, 0]]))
