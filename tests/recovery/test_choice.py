"""When recovery is worth its time."""

from __future__ import annotations

from dataclasses import replace

import pytest

from coarse_models import MakeCase
from tersor.planner.plan import Plan
from tersor.recovery.choice import Recovery, affordable_text, choose_recovery
from tersor.recovery.small import N_STEPS


@pytest.mark.parametrize(
    ("name", "bits", "drift"),
    [
        ("bert", 2.0, True),
        ("bert", 3.0, False),
        ("llama", 4.0, True),
        ("llama", 6.0, False),
        ("llama", None, False),
    ],
)
def test_auto_corrects_drift_where_it_pays(
    make_case: MakeCase, name: str, bits: float | None, drift: bool
) -> None:
    case = make_case(name)
    found = choose_recovery(case.model, case.plan, drift="auto", tune="off", bits_per_weight=bits)
    assert found == Recovery(drift=drift)


@pytest.mark.parametrize(
    ("name", "bits", "n_steps"),
    [("bert", 2.0, 0), ("llama", 2.0, N_STEPS), ("llama", 4.0, 0), ("llama", None, 0)],
)
def test_auto_tunes_models_with_logits_at_few_bits(
    make_case: MakeCase, name: str, bits: float | None, n_steps: int
) -> None:
    case = make_case(name)
    found = choose_recovery(case.model, case.plan, drift="off", tune="auto", bits_per_weight=bits)
    assert found.n_steps == n_steps


def test_on_and_off_mean_it(make_case: MakeCase) -> None:
    case = make_case("bert")
    on = choose_recovery(case.model, case.plan, drift="on", tune="on", bits_per_weight=None)
    assert on == Recovery(True, N_STEPS)
    off = choose_recovery(case.model, case.plan, drift="off", tune="off", bits_per_weight=1.0)
    assert off.is_nothing


def test_auto_leaves_other_methods_as_they_are(make_case: MakeCase) -> None:
    case = make_case("llama")
    plan = Plan(tuple(replace(tensor, method="rtn") for tensor in case.plan.tensors))
    found = choose_recovery(case.model, plan, drift="auto", tune="auto", bits_per_weight=2.0)
    assert found.is_nothing


def test_a_large_model_sees_less_text(make_case: MakeCase, monkeypatch: pytest.MonkeyPatch) -> None:
    case = make_case("bert")
    assert affordable_text(case.model, case.text) == case.text
    monkeypatch.setattr("tersor.recovery.choice.MAX_DRIFT_WORK", 0.0)
    monkeypatch.setattr("tersor.recovery.choice.MIN_DRIFT_TOKENS", case.text.n_tokens // 3)
    assert 0 < affordable_text(case.model, case.text).n_tokens < 0.5 * case.text.n_tokens


def test_auto_does_not_tune_what_would_take_too_long(
    make_case: MakeCase, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("tersor.recovery.choice.MAX_TUNING_WORK", 1e6)
    case = make_case("llama")
    found = choose_recovery(case.model, case.plan, drift="off", tune="auto", bits_per_weight=2.0)
    assert found.n_steps == 0
