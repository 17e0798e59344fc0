"""What is cut out: the smaller model computes what the original computes with those weights set to zero."""

from __future__ import annotations

import copy
from collections.abc import Callable
from typing import Any

import pytest
import torch

from structured_models import FAMILIES, outputs
from tersor.calibrate import CalibrationText
from tersor.errors import UsageError
from tersor.structured import StructuredStep, reduce
from tersor.structured.anatomy import find_anatomy
from tersor.structured.heads import output_columns
from tersor.structured.layers import skipped
from tersor.structured.projections import bias_of, matrix_of, set_projection

Load = Callable[[str], Any]


def zero_inputs(model: Any, name: str, kept: torch.Tensor) -> None:
    """Let a linear layer ignore all inputs but some."""
    module = model.get_submodule(name)
    matrix = torch.zeros_like(matrix_of(module))
    matrix[:, kept] = matrix_of(module)[:, kept]
    set_projection(module, matrix, bias_of(module))


@pytest.mark.parametrize("family", FAMILIES)
@pytest.mark.parametrize("score", ["fisher", "magnitude"])
def test_fewer_heads_are_heads_that_are_not_read(
    family: str, score: str, load: Load, text: CalibrationText
) -> None:
    model = load(family)
    found = reduce(model, text, [StructuredStep("heads", {"share": 0.5, "score": score})], refit=False)
    expected = copy.deepcopy(model)
    for layer, attention in enumerate(find_anatomy(model).attentions()):
        groups = torch.tensor(found.report["steps"][0]["kept"][layer])
        assert len(groups) == attention.n_key_value_heads // 2
        zero_inputs(expected, attention.output, output_columns(attention, groups))
    torch.testing.assert_close(outputs(found.model), outputs(expected), rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("family", FAMILIES)
def test_fewer_neurons_are_neurons_that_are_not_read(family: str, load: Load, text: CalibrationText) -> None:
    model = load(family)
    # Neurons that nothing reads cost nothing: a quarter of them is silenced, and is what goes.
    kept = []
    for part in find_anatomy(model).feed_forwards():
        kept.append(torch.randperm(part.n_neurons)[: part.n_neurons * 3 // 4].sort().values)
        zero_inputs(model, part.output, kept[-1])
    expected = outputs(model)
    found = reduce(model, text, [StructuredStep("neurons")], refit=False)
    torch.testing.assert_close(outputs(found.model), expected, rtol=1e-4, atol=1e-5)
    assert {part.n_neurons for part in find_anatomy(found.model).feed_forwards()} == {len(kept[0])}


@pytest.mark.parametrize("family", FAMILIES)
def test_fewer_layers_are_layers_that_are_skipped(family: str, load: Load, text: CalibrationText) -> None:
    model = load(family)
    found = reduce(model, text, [StructuredStep("layers", {"keep": [0, 2]})], refit=False)
    with skipped(model, find_anatomy(model), [1]):
        expected = outputs(model)
    assert torch.equal(outputs(found.model), expected)
    assert found.layers == [0, 2]
    assert found.module_shapes == {}


@pytest.mark.parametrize("family", FAMILIES)
def test_width_is_cut_everywhere(family: str, load: Load, text: CalibrationText) -> None:
    found = reduce(load(family), text, [StructuredStep("width", {"share": 0.25})], refit=False)
    assert found.model.config.hidden_size == 24
    assert found.channels is not None
    assert len(found.channels) == 24
    widths = {size for p in found.model.parameters() for size in p.shape}
    # 32: the heads' own width is no part of the hidden states.
    assert 24 in widths
    assert torch.isfinite(outputs(found.model)).all()


def test_channels_that_nobody_uses_are_those_that_go(load: Load, text: CalibrationText) -> None:
    model = load("llama")
    silent = [3, 4, 9, 12, 17, 20, 28, 31]
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            if name.endswith(("o_proj.weight", "down_proj.weight")):
                parameter[silent] = 0
        model.model.embed_tokens.weight[:, silent] = 0
    found = reduce(model, text, [StructuredStep("width", {"share": 0.25})], refit=False)
    assert found.channels == [channel for channel in range(32) if channel not in silent]


def test_layers_that_write_nothing_go_first(load: Load, text: CalibrationText) -> None:
    model = load("gpt2")
    block = model.transformer.h[1]
    with torch.no_grad():
        for module in (block.attn.c_proj, block.mlp.c_proj):
            module.weight.zero_()
            module.bias.zero_()
    found = reduce(model, text, [StructuredStep("layers", {"share": 0.34})])
    assert found.layers == [0, 2]
    assert found.report["steps"][0]["losses"] == [0.0]
    torch.testing.assert_close(outputs(found.model), outputs(model), rtol=1e-3, atol=1e-3)


def test_steps_go_on_from_each_other(load: Load, text: CalibrationText) -> None:
    steps = [
        StructuredStep("layers", {"keep": [0, 2]}),
        StructuredStep("heads", {"share": 0.25}),
        StructuredStep("heads", {"share": 0.34}),
        StructuredStep("neurons", {"share": 0.5}),
        StructuredStep("width", {"share": 0.5}),
    ]
    found = reduce(load("bert"), text, steps)
    assert found.config_changes == {
        "hidden_size": 16,
        "num_attention_heads": 2,
        "num_hidden_layers": 2,
        "intermediate_size": 32,
    }
    assert found.module_shapes == {}
    assert [entry["kind"] for entry in found.report["steps"]] == [step.kind for step in steps]
    assert set(found.report["steps"][2]["kept"]) == {0, 2}


def test_the_original_is_left_as_it_was(load: Load, text: CalibrationText) -> None:
    model = load("gpt2")
    before = {name: value.clone() for name, value in model.state_dict().items()}
    expected = outputs(model)
    reduce(model, text, [StructuredStep("heads"), StructuredStep("neurons")])
    assert torch.equal(outputs(model), expected)
    assert all(torch.equal(value, before[name]) for name, value in model.state_dict().items())
    assert all(parameter.requires_grad for parameter in model.parameters())


def test_equal_seeds_give_equal_models(load: Load, text: CalibrationText) -> None:
    steps = [StructuredStep("heads"), StructuredStep("neurons")]
    first, second = (reduce(load("bert"), text, steps, seed=3).model.state_dict() for _ in range(2))
    assert all(torch.equal(value, second[name]) for name, value in first.items())


@pytest.mark.parametrize(
    ("kind", "options", "message"),
    [
        ("layers", {"share": 0.01}, r"share=0.01 of 3 layers drops 0; needed: 1..2"),
        ("layers", {"keep": [0, 3]}, r"layers are 0..2"),
        (
            "heads",
            {"share": 0.01},
            r"attention.self: share=0.01 of 4 groups of heads removes 0; needed: 1..3",
        ),
        ("neurons", {"share": 0.999}, r"share=0.999 of 64 neurons removes 64; needed: 1..63"),
        ("width", {"share": 0.01}, r"share=0.01 of 32 channels leaves 32, in steps of 8"),
    ],
)
def test_removing_all_or_nothing_is_refused(
    kind: str, options: dict[str, Any], message: str, load: Load, text: CalibrationText
) -> None:
    with pytest.raises(UsageError, match=message):
        reduce(load("bert"), text, [StructuredStep(kind, options)])


def test_no_steps_are_refused(load: Load, text: CalibrationText) -> None:
    with pytest.raises(UsageError, match="at least one step"):
        reduce(load("bert"), text, [])


def test_layers_that_depend_on_their_depth_stay(load: Load, text: CalibrationText) -> None:
    model = load("gpt2")
    model.config.scale_attn_by_inverse_layer_idx = True
    with pytest.raises(UsageError, match="scale_attn_by_inverse_layer_idx"):
        reduce(model, text, [StructuredStep("layers", {"share": 0.34})])
