"""Tuning of the small parameters with frozen codes."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from coarse_models import MakeCase
from tersor.recovery.small import make_teacher, small_tensors, tune_small


@pytest.mark.parametrize("name", ["bert", "llama"])
def test_tuned_values_bring_the_output_closer_and_leave_the_codes_alone(
    make_case: MakeCase, name: str
) -> None:
    case = make_case(name)
    teacher = make_teacher(case.model, case.text)
    case.plain(case.model)
    before = {name: p.detach().clone() for name, p in case.model.named_parameters()}
    tuned = tune_small(case.model, teacher, case.plan, n_steps=20, learning_rate=3e-3)
    assert tuned.after < tuned.before
    assert tuned.n_steps == 20
    small = small_tensors(case.model, case.plan)
    assert set(tuned.values) == {tensor.spec.name for tensor in small.values()}
    for parameter, values in case.model.named_parameters():
        assert torch.equal(values, before[parameter]) or parameter in small
    for parameter, tensor in small.items():
        assert np.array_equal(
            tuned.values[tensor.spec.name], case.model.get_parameter(parameter).detach().numpy()
        )


def test_equal_seeds_give_equal_values(make_case: MakeCase) -> None:
    case = make_case("bert")
    teacher = make_teacher(case.model, case.text)
    found = []
    for _ in range(2):
        model = case.load()
        case.plain(model)
        found.append(tune_small(model, teacher, case.plan, seed=1, n_steps=3).values)
    assert found[0].keys() == found[1].keys()
    assert all(np.array_equal(found[0][name], found[1][name]) for name in found[0])


def test_values_that_do_no_good_are_taken_back(make_case: MakeCase) -> None:
    case = make_case("bert")
    teacher = make_teacher(case.model, case.text)
    case.plain(case.model)
    before = {name: p.detach().clone() for name, p in case.model.named_parameters()}
    tuned = tune_small(case.model, teacher, case.plan, n_steps=3, learning_rate=1e3)
    assert tuned.values == {}
    assert tuned.after == tuned.before
    assert all(torch.equal(p, before[name]) for name, p in case.model.named_parameters())


def test_no_gradients_are_left_on(make_case: MakeCase) -> None:
    case = make_case("llama")
    teacher = make_teacher(case.model, case.text)
    case.plain(case.model)
    for parameter in case.model.parameters():
        parameter.requires_grad_(False)
    tune_small(case.model, teacher, case.plan, n_steps=2)
    assert not any(p.requires_grad or p.grad is not None for p in case.model.parameters())


def test_facts_for_the_provenance(make_case: MakeCase) -> None:
    case = make_case("bert")
    teacher = make_teacher(case.model, case.text)
    case.plain(case.model)
    tuned = tune_small(case.model, teacher, case.plan, n_steps=5)
    assert tuned.to_json() == {
        "n_steps": 5,
        "n_tensors": len(tuned.values),
        "error": [tuned.before, tuned.after],
    }
