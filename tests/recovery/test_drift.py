"""Quantization with drift correction on tiny models."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from coarse_models import Case, MakeCase
from tersor.layouts.grid import Grid
from tersor.recovery.parameters import PlannedParameters, dense_of
from tersor.recovery.small import make_teacher


def error_of(case: Case, model: torch.nn.Module) -> float:
    """Mean distance of a model from the case's original."""
    teacher = make_teacher(case.load(), case.text)
    return teacher.distance(model, range(len(teacher.batches)))


def same_codes(one: dict[str, Grid], other: dict[str, Grid]) -> bool:
    return one.keys() == other.keys() and all(np.array_equal(one[n].codes, other[n].codes) for n in one)


@pytest.mark.parametrize("name", ["bert", "llama", "gpt2", "t5"])
def test_the_output_moves_less_at_two_bits(make_case: MakeCase, name: str) -> None:
    case = make_case(name)
    plain, corrected = case.load(), case.load()
    case.plain(plain)
    _, report = case.with_drift(corrected)
    assert report.notes == []
    assert report.n_corrected >= 8
    assert error_of(case, corrected) < 0.95 * error_of(case, plain)


@pytest.mark.parametrize("name", ["bert", "llama", "gpt2", "mixtral"])
def test_every_quantized_tensor_is_handed_out_and_the_model_holds_it(make_case: MakeCase, name: str) -> None:
    case = make_case(name)
    grids, _ = case.with_drift(case.model)
    assert set(grids) == {tensor.spec.name for tensor in case.plan.tensors if tensor.is_quantized}
    parameters = PlannedParameters(case.model, case.plan)
    for parameter, tensor in parameters.tensors.items():
        assert np.array_equal(parameters.array(parameter), dense_of(grids[tensor.spec.name], tensor))


def test_equal_runs_give_equal_codes_for_any_number_of_threads(make_case: MakeCase) -> None:
    case = make_case("bert")
    first, _ = case.with_drift(case.load())
    second, _ = case.with_drift(case.load(), threads=2)
    assert same_codes(first, second)


def test_what_was_read_is_not_changed(make_case: MakeCase) -> None:
    case = make_case("bert")
    before = {spec.name: case.weights.read(spec.name).copy() for spec in case.weights}
    case.with_drift(case.model)
    assert all(np.array_equal(case.weights.read(name), values) for name, values in before.items())


def test_a_model_without_blocks_is_quantized_plainly_and_the_report_says_why(make_case: MakeCase) -> None:
    case = make_case("albert")
    grids, report = case.with_drift(case.load())
    assert same_codes(grids, case.plain(case.load()))
    assert report.n_corrected == 0
    assert report.notes[-1] == "no blocks found: quantized without drift correction"
    assert report.to_json() == {"n_corrected": 0, "notes": report.notes}


def test_embeddings_and_norms_keep_their_values(make_case: MakeCase) -> None:
    case = make_case("llama")
    corrected, _ = case.with_drift(case.load())
    plain = case.plain(case.load())
    same = {name for name in plain if np.array_equal(plain[name].codes, corrected[name].codes)}
    assert {name for name in plain if "norm" in name or "embed" in name} <= same
    assert not any("down_proj" in name for name in same)
