from __future__ import annotations

import copy
import math
from pathlib import Path

import pytest
import torch
from transformers import LlamaForCausalLM

from measuring import measured, metrics_of
from models import tiny_llama
from tersor.errors import UsageError
from tersor.evaluate.data import EvaluationData
from tersor.evaluate.kl import compare, prepare
from tersor.evaluate.tokens import load_tokenizer
from tersor.load import load


@pytest.fixture
def other(tmp_path: Path):
    return load(tiny_llama(tmp_path / "other", seed=1))


def test_original_diverges_by_nothing(llama, folders: dict[str, Path], prose: EvaluationData) -> None:
    tokenizer = load_tokenizer(folders["llama"])
    for model in (llama, copy.deepcopy(llama)):
        kl, agreement = metrics_of(measured(prepare, llama, model, tokenizer, prose))
        assert (kl.value, kl.stderr) == (0.0, 0.0)
        assert (agreement.value, agreement.higher_is_better) == (1.0, True)


def test_divergence_is_that_of_the_original_from_the_model(llama, other) -> None:
    text = torch.arange(5, 40)[None]
    with torch.no_grad():
        p = torch.log_softmax(llama(input_ids=text).logits[0, :-1].double(), dim=1)
        q = torch.log_softmax(other(input_ids=text).logits[0, :-1].double(), dim=1)
    expected = torch.nn.functional.kl_div(q, p, reduction="sum", log_target=True)
    divergence, agreement = compare(other, llama, text)
    assert divergence == pytest.approx(float(expected), rel=1e-4)
    assert agreement == float((p.argmax(1) == q.argmax(1)).sum())


def test_another_model_diverges_with_a_standard_error(
    llama, other, folders: dict[str, Path], prose: EvaluationData
) -> None:
    kl, agreement = metrics_of(measured(prepare, llama, other, load_tokenizer(folders["llama"]), prose))
    assert 0 < kl.stderr < kl.value < math.inf
    assert 0 <= agreement.value < 0.5


def test_vocabularies_of_different_sizes_are_refused(llama) -> None:
    config = copy.deepcopy(llama.config)
    config.vocab_size += 1
    with pytest.raises(UsageError, match="vocabulary of 262 tokens, the original has 261"):
        compare(LlamaForCausalLM(config).eval(), llama, torch.arange(5, 10)[None])
