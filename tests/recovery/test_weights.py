"""Tuning of all weights of a float model."""

from __future__ import annotations

import torch

from coarse_models import MakeCase
from tersor.recovery.small import make_teacher
from tersor.recovery.weights import tune_all
from tersor.structured import StructuredStep, reduce

STEPS = [StructuredStep("heads", {"share": 0.5}), StructuredStep("neurons", {"share": 0.5})]


def test_a_smaller_model_comes_closer_to_the_original(make_case: MakeCase) -> None:
    case = make_case("llama")
    teacher = make_teacher(case.model, case.text)
    smaller = reduce(case.model, case.text, STEPS, refit=False).model
    before = {name: p.detach().clone() for name, p in smaller.named_parameters()}
    seen = []
    tuned = tune_all(
        smaller,
        teacher,
        n_steps=20,
        learning_rate=2e-4,
        progress=lambda done, total: seen.append((done, total)),
    )
    assert tuned.after < tuned.before
    assert seen[-1] == (20, 20)
    changed = {name for name, p in smaller.named_parameters() if not torch.equal(p, before[name])}
    assert changed == set(before) - {"model.embed_tokens.weight"}
    assert tuned.n_tensors == len(changed)
    assert tuned.to_json() == {
        "n_steps": 20,
        "n_tensors": len(changed),
        "error": [tuned.before, tuned.after],
    }


def test_embeddings_are_tuned_when_asked_for(make_case: MakeCase) -> None:
    case = make_case("bert")
    teacher = make_teacher(case.model, case.text)
    smaller = reduce(case.model, case.text, STEPS, refit=False).model
    table = smaller.get_input_embeddings().weight.detach().clone()
    tune_all(smaller, teacher, n_steps=5, learning_rate=2e-4, embeddings=True)
    assert not torch.equal(smaller.get_input_embeddings().weight, table)


def test_weights_that_do_no_good_are_taken_back(make_case: MakeCase) -> None:
    case = make_case("bert")
    teacher = make_teacher(case.model, case.text)
    smaller = reduce(case.model, case.text, STEPS, refit=False).model
    before = {name: p.detach().clone() for name, p in smaller.named_parameters()}
    tuned = tune_all(smaller, teacher, n_steps=3, learning_rate=1e3)
    assert tuned.after == tuned.before
    assert all(torch.equal(p, before[name]) for name, p in smaller.named_parameters())
    assert not any(p.grad is not None for p in smaller.parameters())


def test_equal_seeds_give_equal_weights(make_case: MakeCase) -> None:
    case = make_case("bert")
    teacher = make_teacher(case.model, case.text)
    found = []
    for _ in range(2):
        smaller = reduce(case.model, case.text, STEPS[1:], refit=False).model
        tune_all(smaller, teacher, seed=1, n_steps=3)
        found.append(smaller.state_dict())
    assert all(torch.equal(value, found[1][name]) for name, value in found[0].items())


def test_fewer_channels_are_compared_in_those_that_are_left(make_case: MakeCase) -> None:
    case = make_case("bert")
    teacher = make_teacher(case.model, case.text)
    found = reduce(case.model, case.text, [StructuredStep("width", {"share": 0.25})], refit=False)
    narrow = teacher.of_channels(found.channels)
    assert {target.shape[-1] for target in narrow.targets} == {24}
    tuned = tune_all(found.model, narrow, n_steps=20, learning_rate=2e-4)
    assert tuned.after < tuned.before


def test_a_language_model_needs_no_other_teacher_when_it_gets_narrower(make_case: MakeCase) -> None:
    case = make_case("llama")
    teacher = make_teacher(case.model, case.text)
    found = reduce(case.model, case.text, [StructuredStep("width", {"share": 0.25})], refit=False)
    assert teacher.of_channels(found.channels) is teacher
    tuned = tune_all(found.model, teacher, n_steps=20, learning_rate=2e-4)
    assert tuned.after < tuned.before
