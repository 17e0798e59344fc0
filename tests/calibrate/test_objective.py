from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from torch import nn
from transformers import (
    AutoModel,
    AutoModelForCausalLM,
    BertConfig,
    BertForMaskedLM,
    BertForSequenceClassification,
    BertForTokenClassification,
    T5ForConditionalGeneration,
)

from models import VOCAB_SIZE, tiny_bert, tiny_llama, tiny_t5
from tersor.calibrate.batches import Batch, make_batches
from tersor.calibrate.head import LanguageModel
from tersor.calibrate.model_inputs import call_model, frozen
from tersor.calibrate.objective import (
    Distributions,
    Embeddings,
    Numbers,
    choose_objective,
    kl_divergence,
    label_direction,
)
from tersor.errors import UsageError


def small_config(**kwargs) -> BertConfig:
    return BertConfig(
        vocab_size=VOCAB_SIZE,
        hidden_size=32,
        num_hidden_layers=1,
        num_attention_heads=4,
        intermediate_size=64,
        initializer_range=0.2,
        **kwargs,
    )


def batch() -> Batch:
    return make_batches([[5, 9, 30, 8], [7, 7, 12]], 64)[0]


@pytest.mark.parametrize(
    ("make", "kind"),
    [
        (lambda path: AutoModel.from_pretrained(tiny_bert(path)), Embeddings),
        (lambda path: AutoModelForCausalLM.from_pretrained(tiny_llama(path)), LanguageModel),
        (lambda path: T5ForConditionalGeneration.from_pretrained(tiny_t5(path)), LanguageModel),
        (lambda path: BertForMaskedLM(small_config()), LanguageModel),
        (lambda path: BertForSequenceClassification(small_config(num_labels=3)), Distributions),
        (lambda path: BertForTokenClassification(small_config(num_labels=9)), Distributions),
        (lambda path: BertForSequenceClassification(small_config(num_labels=1)), Numbers),
    ],
)
def test_objective_follows_the_output(make, kind: type, tmp_path: Path) -> None:
    model = make(tmp_path)
    with frozen(model):
        objective = choose_objective(model, batch())
        assert isinstance(objective, kind)
        with torch.no_grad():
            output = objective.outputs(model, batch())
            assert float(objective.distances(output, output).abs().max()) < 1e-9
            assert float(objective.distances(output, output.roll(1, dims=0)).mean()) > 1e-6


def test_outputs_of_classifiers_are_per_token_or_per_sequence() -> None:
    torch.manual_seed(0)
    with torch.no_grad():
        tokens = Distributions().outputs(BertForTokenClassification(small_config(num_labels=9)), batch())
        sequences = Distributions().outputs(
            BertForSequenceClassification(small_config(num_labels=3)), batch()
        )
    assert tokens.shape == (7, 9)
    assert sequences.shape == (2, 3)


def test_encoders_are_compared_by_sequence_or_by_token(tmp_path: Path) -> None:
    model = AutoModel.from_pretrained(tiny_bert(tmp_path))
    with torch.no_grad():
        assert Embeddings("pooled").outputs(model, batch()).shape == (2, 32)
        tokens = Embeddings("tokens").outputs(model, batch())
    assert tokens.shape == (7, 32)
    np.testing.assert_allclose(tokens.norm(dim=1), 1.0, rtol=1e-5)


def test_decoder_of_an_encoder_decoder_predicts_each_token_from_those_before(tmp_path: Path) -> None:
    model = T5ForConditionalGeneration.from_pretrained(tiny_t5(tmp_path)).eval()
    ids = batch().ids[:1]
    with torch.no_grad():
        found = call_model(model, Batch(ids, torch.ones_like(ids).bool())).logits
        expected = model(input_ids=ids, labels=ids).logits
    torch.testing.assert_close(found, expected)


@pytest.mark.parametrize("n_classes", [3, 5000])
def test_directions_have_the_covariance_of_sampled_labels(n_classes: int) -> None:
    """Projected to the logits: diag(p) - pp'."""
    generator = torch.Generator().manual_seed(0)
    logits = (
        torch.randn(n_classes, generator=generator) if n_classes < 10 else torch.full((n_classes,), -20.0)
    )
    if n_classes > 10:
        logits[:3] = torch.tensor([1.0, 0.0, -1.0])
    p = logits.softmax(dim=0)
    rows = p.expand(1500, n_classes).contiguous()
    direction = label_direction(rows, generator)
    pulled = direction - rows * direction.sum(dim=1, keepdim=True)
    covariance = (pulled.T[:3] @ pulled[:, :3]) / len(rows)
    expected = (torch.diag(p) - p[:, None] * p)[:3, :3]
    np.testing.assert_allclose(covariance, expected, atol=0.04)


def test_divergence_of_a_language_model_is_that_of_its_logits(tmp_path: Path) -> None:
    model = AutoModelForCausalLM.from_pretrained(tiny_llama(tmp_path, tied=False)).eval()
    objective = choose_objective(model, batch())
    with torch.no_grad():
        before = objective.outputs(model, batch())
        reference = model(**batch().inputs()).logits[batch().mask].log_softmax(dim=-1)
        model.model.layers[0].mlp.up_proj.weight.add_(0.1)
        changed = model(**batch().inputs()).logits[batch().mask].log_softmax(dim=-1)
        found = objective.distances(before, objective.outputs(model, batch()))
    np.testing.assert_allclose(found, kl_divergence(reference, changed), rtol=1e-3, atol=1e-6)


def test_head_with_more_than_a_product_is_treated_as_logits(tmp_path: Path) -> None:
    model = AutoModelForCausalLM.from_pretrained(tiny_llama(tmp_path)).eval()
    model.lm_head.register_forward_hook(lambda module, inputs, output: torch.tanh(output))
    assert isinstance(choose_objective(model, batch()), LanguageModel), "a hook belongs to the head"

    class Capped(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.inner = AutoModelForCausalLM.from_pretrained(tiny_llama(tmp_path / "again"))

        def get_output_embeddings(self) -> nn.Module:
            return self.inner.lm_head

        def forward(self, **inputs: torch.Tensor) -> SimpleNamespace:
            return SimpleNamespace(logits=10 * torch.tanh(self.inner(**inputs).logits / 10))

    assert isinstance(choose_objective(Capped().eval(), batch()), Distributions)


def test_unknown_output_is_refused_by_name() -> None:
    class Strange(nn.Module):
        def forward(self, **inputs: torch.Tensor) -> SimpleNamespace:
            return SimpleNamespace(boxes=torch.zeros(2, 3, 4, 5))

    with pytest.raises(UsageError, match="Strange returns SimpleNamespace; calibration needs logits"):
        choose_objective(Strange(), batch())


def test_model_that_takes_no_token_ids_is_refused_by_name() -> None:
    class Eyes(nn.Module):
        def forward(self, pixels: torch.Tensor) -> torch.Tensor:
            return pixels

    with pytest.raises(UsageError, match=r"Eyes does not run on token ids alone \(TypeError: .*input_ids"):
        choose_objective(Eyes(), batch())
