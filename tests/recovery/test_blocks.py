"""Blocks are found by running the model, and run alone as they do in it."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from transformers import DynamicCache

from coarse_models import MakeCase
from tersor.calibrate.batches import make_batches
from tersor.calibrate.model_inputs import call_model
from tersor.recovery.blocks import find_stacks, record_entries, record_entry

STACKS = {
    "bert": ["encoder.layer"],
    "llama": ["model.layers"],
    "gpt2": ["transformer.h"],
    "mixtral": ["model.layers"],
    "t5": ["encoder.block", "decoder.block"],
}


@pytest.mark.parametrize("name", STACKS)
def test_stacks_come_in_the_order_of_execution(make_case: MakeCase, name: str) -> None:
    case = make_case(name)
    stacks, problems = find_stacks(case.model, make_batches(case.text.sequences, 128)[0])
    assert [stack.name for stack in stacks] == STACKS[name]
    assert problems == []


def test_shared_blocks_are_no_stack_and_the_reason_is_said(make_case: MakeCase) -> None:
    case = make_case("albert")
    stacks, problems = find_stacks(case.model, make_batches(case.text.sequences, 128)[0])
    assert stacks == []
    assert len(problems) == 1
    assert "block 0 runs 3 times in a forward pass, not once" in problems[0]


@pytest.mark.parametrize("name", STACKS)
@torch.no_grad()
def test_recorded_calls_replay_the_model(make_case: MakeCase, name: str) -> None:
    case = make_case(name)
    batch = make_batches(case.text.sequences, 128)[1]
    stacks, _ = find_stacks(case.model, batch)
    outputs: list[torch.Tensor] = []

    def keep(module: Any, inputs: Any, output: Any) -> None:
        outputs.append(output if isinstance(output, torch.Tensor) else output[0])

    handles = [stack.blocks[-1].register_forward_hook(keep) for stack in stacks]
    call_model(case.model, batch)
    for handle in handles:
        handle.remove()
    for stack, entry, expected in zip(
        stacks, record_entries(case.model, stacks, batch), outputs, strict=True
    ):
        hidden = entry.hidden
        for block, call in zip(stack.blocks, entry.calls, strict=True):
            hidden = call.run(block, hidden)
        assert torch.allclose(hidden, expected, rtol=1e-5, atol=1e-6)


@torch.no_grad()
def test_decoder_blocks_read_what_the_changed_encoder_says(make_case: MakeCase) -> None:
    case = make_case("t5")
    batch = make_batches(case.text.sequences, 128)[0]
    (encoder, decoder), _ = find_stacks(case.model, batch)
    before = record_entries(case.model, [encoder, decoder], batch)[1]
    for parameter in encoder.blocks[0].parameters():
        parameter.mul_(0.5)
    after = record_entry(case.model, decoder, batch, before)
    assert torch.equal(after.hidden, before.hidden)
    changed = [
        any(_differs(a, b) for a, b in zip(_values(now), _values(then), strict=True))
        for now, then in zip(after.calls, before.calls, strict=True)
    ]
    assert changed == [True, True]


def _values(call: Any) -> list[Any]:
    return [*call.args, *call.kwargs.values()]


def _differs(one: Any, other: Any) -> bool:
    return (
        isinstance(one, torch.Tensor)
        and isinstance(other, torch.Tensor)
        and one.is_floating_point()
        and not torch.equal(one, other)
    )


class _Cached(torch.nn.Module):
    """An encoder layer's stand-in that is called with a cache, as a decoder whose configuration cannot turn it off."""

    def __init__(self, layers: torch.nn.ModuleList) -> None:
        super().__init__()
        self.layers = layers

    def forward(self, input_ids: torch.Tensor, attention_mask: torch.Tensor) -> torch.Tensor:
        hidden = torch.nn.functional.one_hot(input_ids, 512).float()
        for layer in self.layers:
            hidden = layer(hidden, past=DynamicCache())
        return hidden


class _Layer(torch.nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.linear = torch.nn.Linear(512, 512)

    def forward(self, hidden_states: torch.Tensor, past: object) -> torch.Tensor:
        return self.linear(hidden_states)


def test_blocks_with_a_cache_cannot_be_replayed(make_case: MakeCase) -> None:
    model = _Cached(torch.nn.ModuleList([_Layer(), _Layer()]))
    stacks, problems = find_stacks(model, make_batches(make_case("bert").text.sequences, 128)[0])
    assert stacks == []
    assert problems == ["layers: block 0 is called with a cache of keys and values"]
