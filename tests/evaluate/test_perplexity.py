from __future__ import annotations

import copy
import math
from pathlib import Path

import pytest
import torch
from transformers import AutoModelForMaskedLM, BertConfig

from models import VOCAB_SIZE
from tersor.errors import UsageError
from tersor.evaluate.causal import require_causal
from tersor.evaluate.data import EvaluationData
from tersor.evaluate.perplexity import measure, window_loss
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
    perplexity, ratio, loss = measure(model, model, load_tokenizer(folders["llama"]), prose, 0)
    assert perplexity.value == pytest.approx(VOCAB_SIZE, rel=1e-5)
    assert perplexity.stderr == pytest.approx(0, abs=1e-3)
    assert loss.value == pytest.approx(math.log(VOCAB_SIZE), rel=1e-5)
    assert (ratio.value, ratio.stderr) == (1.0, 0.0)


def test_ratio_is_that_of_the_perplexities_and_its_error_is_paired(
    llama, folders: dict[str, Path], prose: EvaluationData
) -> None:
    tokenizer = load_tokenizer(folders["llama"])
    other = copy.deepcopy(llama)
    with torch.no_grad():
        other.model.norm.weight *= 1.01
    original = measure(llama, llama, tokenizer, prose, 0)[0]
    perplexity, ratio, _ = measure(other, llama, tokenizer, prose, 0)
    assert ratio.value == pytest.approx(perplexity.value / original.value)
    assert 0 < ratio.stderr < perplexity.stderr / perplexity.value


def test_loss_of_a_window_is_the_sum_over_predicted_tokens(llama) -> None:
    text = torch.tensor([[1, 20, 30, 40, 50]])
    with torch.no_grad():
        expected = float(llama(input_ids=text, labels=text).loss) * 4
    assert window_loss(llama, text) == pytest.approx(expected, rel=1e-5)


def test_n_counts_windows(llama, folders: dict[str, Path], prose: EvaluationData) -> None:
    metrics = measure(llama, llama, load_tokenizer(folders["llama"]), prose, 0)
    assert {metric.n for metric in metrics} == {-(-(len(prose.text.encode()) + 1) // 128)}


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
