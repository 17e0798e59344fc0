from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from transformers import (
    AutoModel,
    AutoModelForCausalLM,
    BertConfig,
    BertForSequenceClassification,
    PreTrainedModel,
    T5ForConditionalGeneration,
)

from models import VOCAB_SIZE, tiny_albert, tiny_bert, tiny_gpt2, tiny_llama, tiny_mixtral, tiny_t5
from tersor.calibrate import CalibrationText, Statistics, collect, parameter_roles
from tersor.calibrate.noise import matrix_shape
from tersor.errors import NonFiniteError, UsageError


def text_of(n_sequences: int = 24, seed: int = 0) -> CalibrationText:
    random = np.random.RandomState(seed)
    sequences = (random.randint(5, VOCAB_SIZE, random.randint(8, 40)) for _ in range(n_sequences))
    return CalibrationText(tuple(tuple(map(int, ids)) for ids in sequences), "random")


def bert(folder: Path) -> PreTrainedModel:
    return AutoModel.from_pretrained(tiny_bert(folder))


def llama(folder: Path) -> PreTrainedModel:
    return AutoModelForCausalLM.from_pretrained(tiny_llama(folder))


def untied_llama(folder: Path) -> PreTrainedModel:
    return AutoModelForCausalLM.from_pretrained(tiny_llama(folder, tied=False))


def gpt2(folder: Path) -> PreTrainedModel:
    return AutoModelForCausalLM.from_pretrained(tiny_gpt2(folder))


def classifier(folder: Path) -> PreTrainedModel:
    torch.manual_seed(0)
    config = BertConfig(
        vocab_size=VOCAB_SIZE,
        hidden_size=32,
        num_hidden_layers=1,
        num_attention_heads=4,
        intermediate_size=64,
        initializer_range=0.2,
        num_labels=3,
    )
    return BertForSequenceClassification(config)


def albert(folder: Path) -> PreTrainedModel:
    return AutoModel.from_pretrained(tiny_albert(folder))


def t5(folder: Path) -> PreTrainedModel:
    return T5ForConditionalGeneration.from_pretrained(tiny_t5(folder, layers=1))


def mixtral(folder: Path) -> PreTrainedModel:
    return AutoModelForCausalLM.from_pretrained(tiny_mixtral(folder))


Maker = Callable[[Path], PreTrainedModel]
ALL: list[Maker] = [bert, llama, untied_llama, gpt2, classifier, albert, t5, mixtral]


def spool(tmp_path: Path, name: str = "spool") -> Path:
    (tmp_path / name).mkdir()
    return tmp_path / name


def collected(make: Maker, tmp_path: Path, **kwargs) -> tuple[PreTrainedModel, Statistics]:
    model = make(tmp_path / "model")
    return model, collect(model, text_of(), spool(tmp_path), **kwargs)


def matrices_of(statistics: Statistics, name: str) -> list[np.ndarray]:
    known = statistics.of(name)
    found = (known.factor, known.row_factor, known.hessian, known.output_hessian)
    return [np.asarray(matrix) for matrix in found if matrix is not None]


@pytest.mark.parametrize("make", ALL)
def test_every_matrix_gets_its_factors_and_step(make: Maker, tmp_path: Path) -> None:
    model, statistics = collected(make, tmp_path)
    for name, role in parameter_roles(model).items():
        if role.kind == "other" or role.shape[0] < 16:
            continue
        known = statistics.of(name)
        rows, columns = matrix_shape(role)
        assert known.factor is not None, name
        assert known.factor.shape == (columns, columns), name
        assert known.row_factor is not None or known.row_weights is not None or "pooler" in name, name
        if known.row_factor is not None:
            assert known.row_factor.shape == (rows, rows)
            assert np.array_equal(known.row_factor, np.tril(known.row_factor))
        for matrix in matrices_of(statistics, name):
            assert np.isfinite(matrix).all()
        assert statistics.base_steps[name] > 0
        assert statistics.errors[name] > 0


@pytest.mark.parametrize("make", [bert, llama, gpt2, mixtral])
def test_model_is_unchanged(make: Maker, tmp_path: Path) -> None:
    model = make(tmp_path / "before")
    model.train()
    before = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    threads = torch.get_num_threads()
    collect(model, text_of(6), spool(tmp_path))
    assert all(torch.equal(before[name], tensor) for name, tensor in model.state_dict().items())
    assert model.training
    assert all(parameter.requires_grad and parameter.grad is None for parameter in model.parameters())
    assert not any(module._forward_hooks or module._forward_pre_hooks for module in model.modules())
    assert torch.get_num_threads() == threads


@pytest.mark.parametrize("make", [bert, llama, mixtral])
def test_threads_and_memory_do_not_change_a_bit(make: Maker, tmp_path: Path) -> None:
    model = make(tmp_path / "model")
    whole = collect(model, text_of(), spool(tmp_path, "a"))
    other = collect(model, text_of(), spool(tmp_path, "b"), threads=3, memory_bytes=5000)
    for name in parameter_roles(model):
        for left, right in zip(matrices_of(whole, name), matrices_of(other, name), strict=True):
            assert np.array_equal(left, right), name
    assert whole.base_steps == other.base_steps
    assert whole.errors == other.errors


def test_plain_hessian_is_the_sum_over_tokens_without_padding(tmp_path: Path) -> None:
    text = text_of(8)  # too few to set some aside for the probes
    model = bert(tmp_path / "model")
    statistics = collect(model, text, spool(tmp_path), with_gradients=False)
    name = "encoder.layer.0.attention.self.query.weight"
    expected = torch.zeros(32, 32)
    inputs = []
    with torch.no_grad():
        for sequence in text.sequences:
            hidden = model.embeddings(torch.tensor([sequence]))[0]
            expected += hidden.T @ hidden
            inputs.append(hidden)
    found = statistics.of(name)
    assert found.hessian is not None
    assert found.input_scales is not None
    np.testing.assert_allclose(found.hessian, expected.numpy(), rtol=1e-3, atol=1e-2)
    np.testing.assert_allclose(found.input_scales, torch.cat(inputs).abs().mean(dim=0).numpy(), rtol=1e-4)
    assert found.row_factor is None
    assert statistics.of("embeddings.word_embeddings.weight").factor is None


def test_tensor_that_matters_less_gets_a_coarser_step(tmp_path: Path) -> None:
    model = bert(tmp_path / "model")
    with torch.no_grad():
        model.encoder.layer[0].output.LayerNorm.weight.fill_(1.0)
        model.encoder.layer[1].intermediate.dense.weight.mul_(1e-3)  # the layer's inner activations vanish
        model.encoder.layer[1].intermediate.dense.bias.zero_()
    steps = collect(model, text_of(), spool(tmp_path)).base_steps
    weak, strong = (steps[f"encoder.layer.{i}.output.dense.weight"] for i in (1, 0))
    assert weak > 2 * strong


def test_progress_counts_to_its_total(tmp_path: Path) -> None:
    seen: dict[str, tuple[int, int]] = {}
    collected(bert, tmp_path, progress=lambda stage, done, total: seen.update({stage: (done, total)}))
    assert set(seen) == {"hessians", "sensitivities"}
    assert all(done == total for done, total in seen.values())


def test_nothing_but_matrices_is_left_in_the_spool(tmp_path: Path) -> None:
    collected(llama, tmp_path)
    assert {path.suffix for path in (tmp_path / "spool").iterdir()} == {".npy"}


def test_empty_text_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"nothing\) holds no tokens"):
        collect(bert(tmp_path), CalibrationText((), "nothing"), tmp_path)


def test_rarely_used_experts_are_named(tmp_path: Path) -> None:
    model = mixtral(tmp_path / "model")
    with torch.no_grad():
        model.model.layers[0].mlp.gate.weight[3] = -model.model.layers[0].mlp.gate.weight[:3].sum(0) * 100
    statistics = collect(model, text_of(), spool(tmp_path))
    notes = [note for note in statistics.notes if note.startswith("model.layers.0.mlp.experts.down_proj")]
    assert "its 4 experts share one input Hessian" in notes[0]
    weights = statistics.row_weights["model.layers.0.mlp.experts.down_proj"]
    assert len(weights) == 4 * 32
    assert weights.min() > 0
    assert abs(weights.mean() - 1) < 1e-9


def test_layer_that_the_text_does_not_reach_is_named(tmp_path: Path) -> None:
    model = bert(tmp_path / "model")
    model.spare = torch.nn.Linear(32, 32)
    statistics = collect(model, text_of(8), spool(tmp_path))
    assert any("no statistics for spare.weight" in note for note in statistics.notes)
    assert statistics.of("spare.weight").factor is None
    assert statistics.base_steps["spare.weight"] > 0


def test_infinite_activations_name_the_parameter(tmp_path: Path) -> None:
    model = bert(tmp_path / "model")
    with torch.no_grad():
        model.encoder.layer[1].intermediate.dense.weight[0, 0] = float("inf")
    with pytest.raises(NonFiniteError, match=r"parameter 'e.*NaN or infinity"):
        collect(model, text_of(8), spool(tmp_path))


def test_tied_embedding_adds_up_both_uses(tmp_path: Path) -> None:
    model = llama(tmp_path / "model")
    tied = collect(model, text_of(), spool(tmp_path)).of("model.embed_tokens.weight").hessian
    other = untied_llama(tmp_path / "untied")
    with torch.no_grad():
        for name, parameter in other.named_parameters():
            parameter.copy_(dict(model.named_parameters()).get(name, model.lm_head.weight))
    separate = collect(other, text_of(), spool(tmp_path, "other"))
    parts = [separate.of(name).hessian for name in ("model.embed_tokens.weight", "lm_head.weight")]
    np.testing.assert_allclose(tied, parts[0] + parts[1], rtol=1e-3, atol=1e-4 * float(np.abs(tied).max()))
