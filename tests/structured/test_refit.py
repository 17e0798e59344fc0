"""Least squares: what is left of a model takes over what was removed."""

from __future__ import annotations

import copy
from collections.abc import Callable
from typing import Any

import pytest
import torch

from structured_models import outputs
from tersor.calibrate import CalibrationText
from tersor.calibrate.batches import make_batches
from tersor.structured import StructuredStep, reduce
from tersor.structured.anatomy import find_anatomy
from tersor.structured.projections import bias_of, keep_inputs, keep_outputs, matrix_of, set_projection
from tersor.structured.refit import Kept, refit

Load = Callable[[str], Any]


def double_neurons(model: Any, block: int, kept: int) -> Any:
    """Let the neurons from `kept` on be copies of the first ones; return a model without them."""
    part = find_anatomy(model).feed_forwards()[block]
    for name in part.inputs:
        module = model.get_submodule(name)
        matrix, bias = matrix_of(module).clone(), bias_of(module)
        matrix[kept:] = matrix[: part.n_neurons - kept]
        if bias is not None:
            bias = torch.cat([bias[:kept], bias[: part.n_neurons - kept]])
        set_projection(module, matrix, bias)
    smaller = copy.deepcopy(model)
    for name in part.inputs:
        keep_outputs(smaller.get_submodule(name), torch.arange(kept))
    keep_inputs(smaller.get_submodule(part.output), torch.arange(kept))
    return smaller


@pytest.mark.parametrize("family", ["bert", "gpt2", "qwen2"])
def test_what_the_rest_can_say_is_not_lost(family: str, load: Load, text: CalibrationText) -> None:
    model = load(family)
    n_neurons = find_anatomy(model).feed_forwards()[0].n_neurons
    smaller = double_neurons(model, 1, n_neurons - 8)
    expected = outputs(model)
    rows = torch.arange(n_neurons - 8)
    part = find_anatomy(model).feed_forwards()[1]
    kept = Kept([0, 1, 2], dict.fromkeys(part.inputs, rows))
    assert (outputs(smaller) - expected).abs().max() > 0.01 * expected.abs().max()
    report = refit(smaller, model, make_batches(text.sequences, 512), kept, ridge=1e-7)
    assert report.left[part.output] < 1e-3
    torch.testing.assert_close(outputs(smaller), expected, rtol=0.02, atol=0.02 * float(expected.abs().max()))


@pytest.mark.parametrize("family", ["bert", "llama"])
def test_a_model_that_lacks_nothing_stays_as_it_is(family: str, load: Load, text: CalibrationText) -> None:
    model = load(family)
    same = copy.deepcopy(model)
    refit(same, model, make_batches(text.sequences, 512), Kept([0, 1, 2]))
    torch.testing.assert_close(outputs(same), outputs(model), rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize(
    ("family", "step"),
    [
        ("bert", StructuredStep("heads", {"share": 0.5})),
        ("distilbert", StructuredStep("neurons", {"share": 0.5})),
        ("gpt2", StructuredStep("layers", {"keep": [0, 1]})),
        ("llama", StructuredStep("layers", {"keep": [1, 2]})),
        ("qwen3", StructuredStep("heads", {"share": 0.5})),
    ],
)
def test_outputs_come_closer_to_the_originals(
    family: str, step: StructuredStep, load: Load, text: CalibrationText
) -> None:
    model = load(family)
    plain, fitted = (reduce(model, text, [step], refit=fit) for fit in (False, True))
    ids = torch.tensor([text.sequences[0][:8]])
    before, after = (
        (outputs(found.model, ids) - outputs(model, ids)).square().mean() for found in (plain, fitted)
    )
    assert after < before
    assert fitted.report["refit"]["error_left"] < 1
    assert "refit" not in plain.report


def test_the_last_kept_layer_takes_over_those_that_are_dropped(load: Load, text: CalibrationText) -> None:
    model = load("gpt2")
    block = model.transformer.h[2]
    with torch.no_grad():  # a last layer that only moves the hidden states by a constant
        block.attn.c_proj.weight.zero_()
        block.mlp.c_proj.weight.zero_()
        block.mlp.c_proj.bias.copy_(torch.linspace(-3, 3, 32))
    found = reduce(model, text, [StructuredStep("layers", {"keep": [0, 1]})])
    torch.testing.assert_close(outputs(found.model), outputs(model), rtol=1e-2, atol=1e-2)
