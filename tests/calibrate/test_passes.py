"""Sums against gradients that autograd itself computes, sequence by sequence."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn
from transformers import AutoModel, AutoModelForCausalLM, PreTrainedModel

from models import VOCAB_SIZE, tiny_albert, tiny_bert, tiny_gpt2, tiny_llama, tiny_mixtral
from tersor.calibrate import parameter_roles
from tersor.calibrate.batches import Batch, make_batches
from tersor.calibrate.head import LanguageModel
from tersor.calibrate.matrices import MatrixSums
from tersor.calibrate.model_inputs import frozen
from tersor.calibrate.objective import Objective, choose_objective
from tersor.calibrate.passes import Pass
from tersor.calibrate.sums import Middle
from tersor.calibrate.workers import OrderedWorkers

Make = Callable[[Path], PreTrainedModel]


def bert(path: Path) -> PreTrainedModel:
    return AutoModel.from_pretrained(tiny_bert(path))


def albert(path: Path) -> PreTrainedModel:
    return AutoModel.from_pretrained(tiny_albert(path))


def llama(path: Path) -> PreTrainedModel:
    return AutoModelForCausalLM.from_pretrained(tiny_llama(path, tied=False))


def gpt2(path: Path) -> PreTrainedModel:
    return AutoModelForCausalLM.from_pretrained(tiny_gpt2(path))


def mixtral(path: Path) -> PreTrainedModel:
    return AutoModelForCausalLM.from_pretrained(tiny_mixtral(path))


def batches_of(n_sequences: int, max_tokens: int = 1) -> list[Batch]:
    random = np.random.RandomState(3)
    return make_batches(
        [random.randint(5, VOCAB_SIZE, n).tolist() for n in range(6, 6 + n_sequences)], max_tokens
    )


def run_pass(
    model: nn.Module,
    batches: list[Batch],
    folder: Path,
    *,
    recompute: bool = False,
    middle: dict[str, Middle] | None = None,
    plain_share: float = 0.0,
) -> tuple[Pass, MatrixSums, Objective]:
    roles = [role for role in parameter_roles(model).values() if role.kind != "other"]
    matrices = MatrixSums(folder, 1 << 30)
    with frozen(model), OrderedWorkers(1, 1) as workers:
        objective = choose_objective(model, batches[0])
        skipped = (
            {"lm_head.weight", "transformer.wte.weight"} if isinstance(objective, LanguageModel) else set()
        )
        done = Pass(
            model,
            roles,
            objective,
            matrices,
            workers,
            plain_share=plain_share,
            find_middle=(middle or {}).get,
            skip_products=frozenset(skipped),
            recompute=recompute,
        )
        for seed, batch in enumerate(batches):
            done.add(batch, seed)
    return done, matrices, objective


def gradients_by_autograd(
    model: PreTrainedModel, objective: Objective, batches: list[Batch], name: str
) -> list[torch.Tensor]:
    """dW of each batch (of one sequence), with the directions that the pass drew."""
    model.eval()
    found = []
    for seed, batch in enumerate(batches):
        model.zero_grad()
        objective.backward(model, batch, torch.Generator().manual_seed(seed))
        gradient = dict(model.named_parameters())[name].grad
        assert gradient is not None
        found.append(gradient.clone())
    return found


CASES = [
    (bert, "encoder.layer.0.attention.self.key.weight"),
    (bert, "encoder.layer.1.output.dense.weight"),
    (albert, "encoder.albert_layer_groups.0.albert_layers.0.ffn.weight"),
    (llama, "model.layers.0.mlp.down_proj.weight"),
    (llama, "model.layers.1.self_attn.k_proj.weight"),
    (gpt2, "transformer.h.0.attn.c_attn.weight"),
]


@pytest.mark.parametrize(("make", "name"), CASES)
def test_sums_are_second_moments_of_weight_gradients(make: Make, name: str, tmp_path: Path) -> None:
    model, batches = make(tmp_path / "model"), batches_of(4)
    done, matrices, objective = run_pass(model, batches, tmp_path)
    sums = done.linear[name]
    columns, rows = sums.role.n_inputs, sums.role.n_outputs
    inputs, outputs = torch.zeros(columns, columns), torch.zeros(rows, rows)
    for gradient in gradients_by_autograd(model, objective, batches, name):
        matrix = gradient.T if sums.role.is_transposed else gradient
        inputs += matrix.T @ matrix
        outputs += matrix @ matrix.T
    for side, expected in (("input", inputs), ("output", outputs)):
        found = matrices.take(f"{sums.key}.{side}")
        np.testing.assert_allclose(found, expected.numpy(), rtol=2e-3, atol=1e-4 * float(expected.max()))
    assert sums.energy == pytest.approx(float(inputs.trace()), rel=1e-3)


def test_second_pass_puts_the_other_factor_in_the_middle(tmp_path: Path) -> None:
    model, batches, name = (
        bert(tmp_path / "model"),
        batches_of(3),
        "encoder.layer.0.intermediate.dense.weight",
    )
    random = torch.Generator().manual_seed(0)
    root_in, root_out = torch.randn(32, 32, generator=random), torch.randn(64, 64, generator=random)
    middle = Middle(root_in @ root_in.T, root_out @ root_out.T)
    done, matrices, objective = run_pass(model, batches, tmp_path, middle={name: middle})
    expected_in, expected_out = torch.zeros(32, 32), torch.zeros(64, 64)
    for gradient in gradients_by_autograd(model, objective, batches, name):
        expected_in += gradient.T @ middle.output @ gradient
        expected_out += gradient @ middle.input @ gradient.T
    for side, expected in (("input", expected_in), ("output", expected_out)):
        found = matrices.take(f"{done.linear[name].key}.{side}")
        np.testing.assert_allclose(found, expected.numpy(), rtol=2e-3, atol=1e-4 * float(expected.max()))


def test_plain_inputs_have_their_share_of_the_trace(tmp_path: Path) -> None:
    model, batches, name = bert(tmp_path / "model"), batches_of(1), "encoder.layer.0.output.dense.weight"
    without = run_pass(model, batches, tmp_path)[1].take("00008.input")
    done, matrices, _ = run_pass(model, batches, tmp_path, plain_share=0.2)
    mixed = matrices.take(f"{done.linear[name].key}.input")
    assert done.linear[name].key == "00008"
    assert mixed is not None
    assert without is not None
    assert np.trace(without) / np.trace(mixed) == pytest.approx(0.8, rel=1e-3)


@pytest.mark.parametrize("make", [bert, llama, gpt2, mixtral])
def test_recomputed_blocks_give_the_same_sums(make: Make, tmp_path: Path) -> None:
    model, batches = make(tmp_path / "model"), batches_of(6, 64)
    kept, kept_matrices, _ = run_pass(model, batches, tmp_path)
    again, again_matrices, _ = run_pass(model, batches, tmp_path, recompute=True)
    assert kept.linear.keys() == again.linear.keys()
    for name, sums in kept.linear.items():
        assert again.linear[name].energy == pytest.approx(sums.energy, rel=1e-4), name
        if sums.row_energy is None and sums.energy > 0:
            left, right = (m.take(f"{sums.key}.output") for m in (kept_matrices, again_matrices))
            np.testing.assert_allclose(left, right, rtol=1e-3, atol=1e-5 * float(np.abs(left).max()))
    assert not any("forward" in vars(module) for module in model.modules())


def test_padding_changes_nothing(tmp_path: Path) -> None:
    model, (batch,) = bert(tmp_path / "model"), batches_of(1)
    padded = Batch(nn.functional.pad(batch.ids, (0, 5)), nn.functional.pad(batch.mask, (0, 5)))
    name = "encoder.layer.0.attention.output.dense.weight"
    found = []
    for each in (batch, padded):
        done, matrices, _ = run_pass(model, [each], tmp_path, plain_share=0.2)
        found.append(matrices.take(f"{done.linear[name].key}.input"))
        assert done.linear[name].n_tokens == batch.ids.numel()
    np.testing.assert_allclose(found[0], found[1], rtol=1e-3, atol=1e-5 * float(np.abs(found[0]).max()))


def test_lookups_sum_the_gradients_of_a_token_within_its_sequence(tmp_path: Path) -> None:
    model = bert(tmp_path / "model")
    name = "embeddings.word_embeddings.weight"
    batches = make_batches([[7, 9, 7, 30, 7], [9, 9, 40]], 1)
    done, _, objective = run_pass(model, batches, tmp_path)
    expected = torch.zeros(VOCAB_SIZE)
    for gradient in gradients_by_autograd(model, objective, batches, name):
        expected += gradient.square().sum(dim=1)
    np.testing.assert_allclose(done.lookups[name].row_energy, expected, rtol=1e-3, atol=1e-9)
    assert done.lookups[name].row_count[[7, 9, 30, 40]].tolist() == [3, 3, 1, 1]


def test_head_is_summed_in_closed_form(tmp_path: Path) -> None:
    model, batches = llama(tmp_path / "model"), batches_of(2)
    _, _, objective = run_pass(model, batches, tmp_path)
    assert isinstance(objective, LanguageModel)
    sums = objective.sums
    assert sums is not None
    hessian, variance = torch.zeros(32, 32), torch.zeros(VOCAB_SIZE)
    with torch.no_grad():
        for batch in batches:
            hidden = model.model(**batch.inputs()).last_hidden_state[0]
            p = model.lm_head(hidden).softmax(dim=-1)
            hessian += hidden.T @ (hidden * (1 - p.square().sum(dim=1, keepdim=True)))
            variance += (p * (1 - p)).sum(dim=0)
    np.testing.assert_allclose(sums.hessian, hessian, rtol=1e-3, atol=1e-3)
    np.testing.assert_allclose(sums.variance, variance, rtol=1e-3)
    assert sums.n_predictions == sum(int(batch.mask.sum()) for batch in batches)
