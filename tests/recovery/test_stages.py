"""The stages of a block, and the residual connections found by value."""

from __future__ import annotations

import pytest
import torch

from coarse_models import Case, MakeCase
from tersor.calibrate.batches import make_batches
from tersor.recovery.blocks import find_stacks, record_entries
from tersor.recovery.stages import Point, Stage, find_stages, watch_stage, watch_stages

BLOCK = Point("", "input")
# Names of each stage's linear layers, and what the last one's output is added to.
EXPECTED = {
    "bert": [
        (["attention.self.query", "attention.self.key", "attention.self.value"], None),
        (["attention.output.dense"], BLOCK),
        (["intermediate.dense"], None),
        (["output.dense"], Point("attention.output.LayerNorm", "output")),
    ],
    "llama": [
        (["self_attn.q_proj", "self_attn.k_proj", "self_attn.v_proj"], None),
        (["self_attn.o_proj"], BLOCK),
        (["mlp.gate_proj", "mlp.up_proj"], None),
        (["mlp.down_proj"], Point("post_attention_layernorm", "input")),
    ],
    "gpt2": [
        (["attn.c_attn"], None),
        (["attn.c_proj"], BLOCK),
        (["mlp.c_fc"], None),
        (["mlp.c_proj"], Point("ln_2", "input")),
    ],
}


def stages_of(case: Case, index: int = 1) -> tuple[list[Stage], tuple[torch.nn.Module, object, torch.Tensor]]:
    batch = make_batches(case.text.sequences, 128)[0]
    stacks, _ = find_stacks(case.model, batch)
    entry = record_entries(case.model, stacks, batch)[-1]
    block, call = stacks[-1].blocks[index], entry.calls[index]
    with torch.no_grad():
        return find_stages(block, call, entry.hidden), (block, call, entry.hidden)


@pytest.mark.parametrize("name", EXPECTED)
def test_stages_and_residuals_of_known_blocks(make_case: MakeCase, name: str) -> None:
    stages, _ = stages_of(make_case(name))
    found = [([linear.name for linear in stage.linears], stage.linears[-1].residual) for stage in stages]
    assert found == EXPECTED[name]


def test_cross_attention_of_a_decoder_is_a_stage_of_its_own(make_case: MakeCase) -> None:
    stages, _ = stages_of(make_case("t5"))
    names = [[linear.name for linear in stage.linears] for stage in stages]
    assert ["layer.1.EncDecAttention.k", "layer.1.EncDecAttention.v"] in names
    assert len(names) == 7


def test_experts_are_no_stages(make_case: MakeCase) -> None:
    stages, _ = stages_of(make_case("mixtral"))
    names = [linear.name for stage in stages for linear in stage.linears]
    assert not any("expert" in name for name in names)
    assert "self_attn.o_proj" in names


def test_running_up_to_a_stage_sees_what_a_whole_run_sees(make_case: MakeCase) -> None:
    stages, (block, call, hidden) = stages_of(make_case("llama"))
    whole, _ = watch_stages(block, call, hidden, stages)  # type: ignore[arg-type]
    for stage, expected in zip(stages, whole, strict=True):
        seen = watch_stage(block, call, hidden, stage)  # type: ignore[arg-type]
        assert torch.equal(seen.inputs, expected.inputs)
        assert seen.residuals.keys() == expected.residuals.keys()
        assert all(torch.equal(seen.residuals[p], expected.residuals[p]) for p in seen.residuals)


def test_no_hook_is_left_behind(make_case: MakeCase) -> None:
    stages, (block, call, hidden) = stages_of(make_case("bert"))
    for stage in stages:
        watch_stage(block, call, hidden, stage)  # type: ignore[arg-type]
    assert not any(m._forward_hooks or m._forward_pre_hooks for m in block.modules())
