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
)

from models import VOCAB_SIZE, tiny_bert, tiny_gpt2, tiny_llama
from tersor.calibrate import CalibrationText, Statistics, collect, parameter_roles
from tersor.calibrate.batches import make_batches
from tersor.calibrate.hessians import HessianWalk
from tersor.errors import UsageError


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


Maker = Callable[[Path], PreTrainedModel]
ALL: list[Maker] = [bert, llama, untied_llama, gpt2, classifier]


def collected(make: Maker, tmp_path: Path, **kwargs) -> tuple[PreTrainedModel, Statistics]:
    model, spool = make(tmp_path / "model"), tmp_path / "spool"
    spool.mkdir()
    return model, collect(model, text_of(), spool, **kwargs)


@pytest.mark.parametrize("make", ALL)
def test_every_linear_and_embedding_gets_factor_and_step(make: Maker, tmp_path: Path) -> None:
    model, statistics = collected(make, tmp_path)
    for name, role in parameter_roles(model).items():
        if role.kind == "other" or role.shape[0] < 16:
            continue
        factor = statistics.of(name).factor
        assert factor is not None, name
        assert factor.shape == (role.n_inputs, role.n_inputs)
        assert np.isfinite(factor).all()
        assert statistics.base_steps[name] > 0


@pytest.mark.parametrize("make", [bert, llama, gpt2])
def test_model_is_unchanged(make: Maker, tmp_path: Path) -> None:
    model = make(tmp_path / "before")
    model.train()
    before = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    threads = torch.get_num_threads()
    (tmp_path / "spool").mkdir()
    collect(model, text_of(6), tmp_path / "spool")
    assert all(torch.equal(before[name], tensor) for name, tensor in model.state_dict().items())
    assert model.training
    assert all(parameter.requires_grad and parameter.grad is None for parameter in model.parameters())
    assert not any(module._forward_hooks for module in model.modules())
    assert torch.get_num_threads() == threads


def test_groups_of_any_size_give_the_same_statistics(tmp_path: Path) -> None:
    (tmp_path / "a").mkdir()
    (tmp_path / "b").mkdir()
    model, whole = collected(llama, tmp_path / "a")
    _, single = collected(llama, tmp_path / "b", group_bytes=1)
    for name in parameter_roles(model):
        if (factor := whole.of(name).factor) is not None:
            other = single.of(name).factor
            assert other is not None
            assert np.array_equal(factor, other), name
    assert whole.base_steps == single.base_steps


def test_plain_hessian_is_the_sum_over_tokens_without_padding(tmp_path: Path) -> None:
    model, statistics = collected(bert, tmp_path, with_gradients=False)
    name = "encoder.layer.0.attention.self.query.weight"
    expected = torch.zeros(32, 32)
    with torch.no_grad():
        for sequence in text_of().sequences:
            hidden = model.embeddings(torch.tensor([sequence]))[0]
            expected += hidden.T @ hidden
    found = statistics.hessian(name)
    assert found is not None
    np.testing.assert_allclose(found, expected.numpy(), rtol=1e-3, atol=1e-2)
    assert statistics.of("embeddings.word_embeddings.weight").factor is None


def test_gradient_hessian_is_the_second_moment_of_weight_gradients(tmp_path: Path) -> None:
    model = bert(tmp_path).eval()
    role = parameter_roles(model)["encoder.layer.1.output.dense.weight"]
    batches = make_batches(text_of(3).sequences, 1)  # one sequence each
    walk = HessianWalk(model, [role], with_gradients=True)
    found = walk.run(batches, 7, lambda: None)[role.name]
    generator, expected, inputs = torch.Generator().manual_seed(7), torch.zeros(64, 64), torch.zeros(64, 64)
    layer = model.encoder.layer[1].output.dense

    def add_inputs(module: torch.nn.Module, args: tuple[torch.Tensor], output: torch.Tensor) -> None:
        tokens = args[0][0].detach()
        inputs.add_(tokens.T @ tokens)

    layer.register_forward_hook(add_inputs)
    for batch in batches:
        hidden = model(**batch.inputs()).last_hidden_state.mean(dim=1)
        unit = torch.nn.functional.normalize(hidden, dim=-1)
        (unit * torch.randn(unit.shape, generator=generator)).sum().backward()
        expected += layer.weight.grad.T @ layer.weight.grad
        model.zero_grad()
    expected += found.plain_scale * inputs
    np.testing.assert_allclose(
        found.matrix.numpy(), expected.numpy(), rtol=1e-3, atol=1e-4 * float(expected.max())
    )


def test_tensor_that_matters_less_gets_a_coarser_step(tmp_path: Path) -> None:
    model = bert(tmp_path / "model")
    with torch.no_grad():
        model.encoder.layer[0].output.LayerNorm.weight.fill_(1.0)
        model.encoder.layer[1].intermediate.dense.weight.mul_(1e-3)  # the layer's inner activations vanish
        model.encoder.layer[1].intermediate.dense.bias.zero_()
    (tmp_path / "spool").mkdir()
    steps = collect(model, text_of(), tmp_path / "spool").base_steps
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
