from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from transformers import AutoModelForCausalLM, PreTrainedModel

from models import VOCAB_SIZE, tiny_gpt2, tiny_llama, tiny_mixtral
from tersor.calibrate import CalibrationText, ParameterRole, Statistics, collect, parameter_roles
from tersor.calibrate.batches import Batch, make_batches
from tersor.calibrate.model_inputs import frozen
from tersor.calibrate.noise import matrix_shape, matrix_view, noisy_calls, rounding_noise
from tersor.calibrate.objective import choose_objective
from tersor.calibrate.sensitivity import Sensitivities, expect_unseen, probe_groups
from tersor.quant.base import TensorStatistics


def batch() -> Batch:
    return make_batches([[5, 9, 30, 8], [7, 7, 12]], 64)[0]


@pytest.mark.parametrize(
    ("make", "name"),
    [
        (tiny_llama, "model.layers.0.self_attn.v_proj.weight"),
        (tiny_llama, "model.embed_tokens.weight"),
        (tiny_gpt2, "transformer.h.1.mlp.c_fc.weight"),
        (tiny_mixtral, "model.layers.1.mlp.experts.down_proj"),
        (tiny_mixtral, "lm_head.weight"),
    ],
)
def test_model_computes_as_if_the_noise_were_added(make, name: str, tmp_path: Path) -> None:
    model = AutoModelForCausalLM.from_pretrained(make(tmp_path)).eval()
    parameters = dict(model.named_parameters())
    role = parameter_roles(model)[name]
    noise = rounding_noise(role, TensorStatistics(), 0.1, seed=1)
    with torch.no_grad(), frozen(model):
        with noisy_calls(parameters, [role], {name: noise}, None):
            found = model(**batch().inputs()).logits
        plain = model(**batch().inputs()).logits
        view = matrix_view(role, parameters[name])
        view.add_(noise)
        expected = model(**batch().inputs()).logits
    torch.testing.assert_close(found[batch().mask], expected[batch().mask], rtol=1e-3, atol=1e-4)
    assert not torch.allclose(found[batch().mask], plain[batch().mask])


def test_noise_has_the_shape_of_feedback() -> None:
    role = ParameterRole("w", "linear", (40, 30))
    random = np.random.RandomState(0)
    upper = np.triu(random.rand(30, 30)).astype(np.float32)
    lower = np.tril(random.rand(40, 40)).astype(np.float32)
    drawn = rounding_noise(role, TensorStatistics(), 1.0, seed=3)
    assert drawn.abs().max() <= 0.5
    found = rounding_noise(role, TensorStatistics(factor=upper, row_factor=lower), 2.0, seed=3)
    np.testing.assert_allclose(found, 2 * lower @ drawn.numpy() @ upper, rtol=1e-4, atol=1e-5)
    weights = random.rand(40) + 0.1
    by_row = rounding_noise(role, TensorStatistics(row_weights=weights), 1.0, seed=3)
    np.testing.assert_allclose(by_row, drawn.numpy() / np.sqrt(weights)[:, None], rtol=1e-5)
    assert matrix_shape(role) == (40, 30)


def test_noise_of_some_rows_is_for_embeddings() -> None:
    role = ParameterRole("e", "embedding", (50, 6), ("e",), True)
    weights = np.linspace(0.5, 1.5, 50)
    rows = torch.tensor([3, 40])
    found = rounding_noise(role, TensorStatistics(row_weights=weights), 1.0, 0, rows)
    assert found.shape == (2, 6)
    assert found.abs().max() <= 0.5 / weights[3] ** 0.5


def test_steps_make_equal_errors_and_typical_codes_have_rms_one() -> None:
    found = Sensitivities({"a": 4.0, "b": 1.0, "c": 0.25}, {"a": 0.5, "b": 1.0, "c": 2.0})
    steps = found.base_steps()
    assert steps == pytest.approx({"a": 0.5, "b": 1.0, "c": 2.0})
    assert {round(found.errors[name] * step**2, 9) for name, step in steps.items()} == {1.0}


def test_many_tensors_are_probed_by_type_and_depth() -> None:
    roles = [
        ParameterRole(f"layers.{layer}.{kind}.weight", "linear", (32, 32))
        for layer in range(12)
        for kind in "abcdef"
    ]
    groups = probe_groups(roles, {role.name: 1.0 for role in roles})
    assert len(groups) == 6 * 6
    assert {len(group) for group in groups} == {2}
    assert probe_groups(roles[:60], {}) == [[role] for role in roles[:60]]


@pytest.fixture(scope="module")
def measured(tmp_path_factory: pytest.TempPathFactory) -> tuple[PreTrainedModel, CalibrationText, Statistics]:
    model = AutoModelForCausalLM.from_pretrained(tiny_llama(tmp_path_factory.mktemp("llama"), hidden=64))
    random = np.random.RandomState(0)
    sequences = tuple(tuple(map(int, random.randint(5, VOCAB_SIZE, 40))) for _ in range(60))
    text = CalibrationText(sequences, "random")
    return model, text, collect(model, text, tmp_path_factory.mktemp("spool"))


@pytest.mark.parametrize(
    "name", ["model.layers.0.mlp.up_proj.weight", "model.layers.1.self_attn.o_proj.weight"]
)
def test_expected_error_is_what_noise_of_the_step_costs(measured, name: str) -> None:
    model, text, statistics = measured
    role, step = parameter_roles(model)[name], 0.1 * statistics.base_steps[name]
    batches = make_batches(text.sequences[::2], 512)
    noise = rounding_noise(role, statistics.of(name), step, seed=99)
    with torch.no_grad(), frozen(model):
        objective = choose_objective(model, batches[0])
        reference = [objective.outputs(model, each) for each in batches]
        with noisy_calls(dict(model.named_parameters()), [role], {name: noise}, None):
            moved = [
                objective.distances(before, objective.outputs(model, each))
                for before, each in zip(reference, batches, strict=True)
            ]
    expected = statistics.errors[name] * role.n_weights * step**2 / 12
    assert float(torch.cat(moved).mean()) == pytest.approx(expected, rel=0.5)


def test_embeddings_count_on_tokens_that_calibration_did_not_see() -> None:
    roles = [
        ParameterRole("words", "embedding", (100, 4), ("words",), True),
        ParameterRole("tied", "embedding", (100, 4), ("tied", "head"), True),
        ParameterRole("layer", "linear", (4, 4), ("layer",)),
    ]
    for sequences, factor in (
        (((5, 6, 5, 6),), 1.0),
        (((5, 5, 5, 5, 5, 5, 5, 5, 5, 7),), 1.48),
        (((1, 2),), 1.72),
    ):
        found = Sensitivities({"words": 2.0, "tied": 2.0, "layer": 2.0}, {})
        expect_unseen(found, roles, CalibrationText(sequences, "made"))
        assert found.errors == pytest.approx({"words": 2 * factor, "tied": 2.0, "layer": 2.0})
