"""Gradients of the losses that tuning follows."""

from __future__ import annotations

import pytest
import torch
from torch.nn import functional

from coarse_models import MakeCase
from tersor.calibrate.batches import make_batches
from tersor.calibrate.model_inputs import call_model
from tersor.recovery.losses import TEMPERATURE, LanguageLoss, OutputLoss, choose_loss


def test_gradient_of_a_language_model_is_that_of_the_softened_divergence(make_case: MakeCase) -> None:
    case = make_case("llama")
    batch = make_batches(case.text.sequences, 128)[0]
    loss = choose_loss(case.model, batch)
    assert isinstance(loss, LanguageLoss)
    target = loss.target(case.model, batch)
    with torch.no_grad():
        expected_logits = call_model(case.model, batch).logits[batch.mask]
    changed = case.load()
    case.plain(changed)
    gain = changed.model.norm.weight
    value = loss.backward(changed, batch, target)
    found, gain.grad = gain.grad, None
    logits = call_model(changed, batch).logits[batch.mask]
    soft = [functional.log_softmax(z / TEMPERATURE, dim=-1) for z in (logits, expected_logits)]
    expected = TEMPERATURE**2 * functional.kl_div(soft[0], soft[1], log_target=True, reduction="batchmean")
    expected.backward()
    assert value == pytest.approx(float(expected.detach()), rel=1e-3)
    assert found is not None
    assert torch.allclose(found, gain.grad, rtol=1e-3, atol=1e-5 * float(gain.grad.abs().max()))


@pytest.mark.parametrize("name", ["bert", "llama"])
def test_the_original_is_at_no_distance_from_itself(make_case: MakeCase, name: str) -> None:
    case = make_case(name)
    batch = make_batches(case.text.sequences, 128)[0]
    loss = choose_loss(case.model, batch)
    assert loss.distance(case.model, batch, loss.target(case.model, batch)) == pytest.approx(0.0, abs=1e-6)


def test_encoders_are_compared_by_their_embeddings(make_case: MakeCase) -> None:
    case = make_case("bert")
    batch = make_batches(case.text.sequences, 128)[0]
    loss = choose_loss(case.model, batch)
    assert isinstance(loss, OutputLoss)
    target = loss.target(case.model, batch)
    case.plain(case.model)
    value = loss.backward(case.model, batch, target)
    assert value == pytest.approx(loss.distance(case.model, batch, target), rel=1e-3)
