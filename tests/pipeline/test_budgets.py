"""What decides the size: options of a method, a loss that is measured, or the options alone."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import pytest
import torch

import tersor
from models import VOCAB_SIZE, tiny_bert, tiny_llama
from tersor.errors import BudgetError, UsageError


@pytest.fixture(scope="module")
def bert(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tiny_bert(tmp_path_factory.mktemp("bert") / "model", hidden=64)


@pytest.fixture(scope="module")
def llama(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tiny_llama(tmp_path_factory.mktemp("llama") / "model", hidden=64)


def test_options_are_allocated_to_fill_the_size(bert: Path, text: Path, tmp_path: Path) -> None:
    result = tersor.compress(
        bert, tmp_path / "small", size="0.15x", recipe={"method": "fixed"}, calibration=text
    )
    assert 0.995 * 0.15 <= result["output"]["ratio"] <= 0.15
    assert tersor.verify(tmp_path / "small")["ok"]


def test_size_beyond_what_the_options_can_make_is_refused_with_the_nearest(
    llama: Path, text: Path, tmp_path: Path
) -> None:
    wanted = {"method": "fixed", "options": {"bits": 4}}
    with pytest.raises(BudgetError, match=r"cannot be filled: the largest options make [\d,]+ bytes"):
        tersor.compress(llama, tmp_path / "small", size="0.9x", recipe=wanted, calibration=text)
    with pytest.raises(
        BudgetError, match=r"cannot be reached: with the smallest options [\d,]+ bytes remain"
    ):
        tersor.compress(llama, tmp_path / "small", size="0.02x", recipe=wanted, calibration=text)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("method", "size"),
    [("two_sided", "0.9x"), ("two_sided", "0.003x"), ("fixed", "0.9x"), ("fixed", "0.02x")],
)
def test_size_that_a_refusal_names_works(
    method: str, size: str, llama: Path, text: Path, tmp_path: Path
) -> None:
    recipe = {"method": method, "tune": "off", "drift": "off"}
    with pytest.raises(BudgetError) as refused:
        tersor.compress(llama, tmp_path / "small", size=size, recipe=recipe, calibration=text)
    named = re.search(r"ask for at (?:least|most) (\d+B)", str(refused.value))
    assert named, refused.value
    tersor.compress(llama, tmp_path / "small", size=named[1], recipe=recipe, calibration=text)


@pytest.mark.parametrize("method", ["two_sided", "fixed"])
@pytest.mark.parametrize(("size", "why"), [("1x", "cannot be filled"), ("0.003x", "cannot be reached")])
def test_dry_run_refuses_what_cannot_be(
    method: str, size: str, why: str, llama: Path, text: Path, tmp_path: Path
) -> None:
    with pytest.raises(BudgetError, match=why):
        tersor.compress(
            llama, tmp_path / "s", size=size, recipe={"method": method}, calibration=text, dry_run=True
        )


def test_textbook_quantization_needs_no_size(llama: Path, text: Path, tmp_path: Path) -> None:
    recipe = {"method": "fixed", "options": {"bits": 8, "delta": "2^-6"}}
    tersor.compress(llama, tmp_path / "small", recipe=recipe, calibration=text)
    original = tersor.load(llama).state_dict()
    with tersor.open(tmp_path / "small") as archive:
        name = "model.layers.0.mlp.up_proj.weight"
        rounded = np.clip(np.rint(original[name].numpy() * 64), -127, 127) / 64
        assert np.array_equal(archive[name], rounded)


def test_rules_keep_tensors_and_change_methods(bert: Path, text: Path, tmp_path: Path) -> None:
    rules = [
        {"match": "pooler.*", "keep": True},
        {"match": "encoder.layer.0.*.dense.weight", "method": "fixed", "options": {"bits": 4}},
    ]
    recipe = {"size": "0.3x", "method": "gptq", "targets": rules}
    result = tersor.compress(bert, tmp_path / "small", recipe=recipe, calibration=text)
    assert 0.995 * 0.3 <= result["output"]["ratio"] <= 0.3
    rows = {row["name"]: row for row in result["tensors"]}
    assert rows["pooler.dense.weight"]["layout"] == "dense/1"
    assert rows["pooler.dense.weight"]["error"] == 0
    with tersor.open(tmp_path / "small") as archive:
        values = archive["encoder.layer.0.intermediate.dense.weight"]
        assert all(len(np.unique(row)) <= 15 for row in values)


@pytest.mark.parametrize("purpose", ["vllm", "gguf", "cpu"])
def test_purpose_quantizes_in_its_layouts_and_keeps_the_rest_exactly(
    llama: Path, text: Path, tmp_path: Path, purpose: str
) -> None:
    result = tersor.compress(llama, tmp_path / "small", purpose=purpose, recipe={}, calibration=text)
    layouts = {row["name"]: row["layout"] for row in result["tensors"]}
    assert layouts["model.layers.0.self_attn.q_proj.weight"] == "grid/1"
    assert layouts["model.norm.weight"] == "dense/1"
    assert (layouts["model.embed_tokens.weight"] == "dense/1") == (purpose == "vllm")
    original = tersor.load(llama).state_dict()
    with tersor.open(tmp_path / "small") as archive:
        assert np.array_equal(archive["model.norm.weight"], original["model.norm.weight"].numpy())


def distance(original: Path, changed: Path) -> float:
    """Mean 1 - cosine of embeddings, measured here anew, on ids that calibration never saw together."""
    ids = torch.from_numpy(np.random.RandomState(5).randint(5, VOCAB_SIZE, (16, 48)))
    with torch.no_grad():
        states = [tersor.load(path)(ids).last_hidden_state for path in (original, changed)]
    return float((1 - torch.cosine_similarity(*(state.double().mean(dim=1) for state in states))).mean())


def test_embedding_loss_is_kept_by_the_finished_file(bert: Path, text: Path, tmp_path: Path) -> None:
    result = tersor.compress(
        bert, tmp_path / "small", max_loss="1%", recipe={"method": "rtn"}, calibration=text
    )
    loss = result["loss"]
    assert (loss["metric"], loss["limit"]) == ("embedding", 0.01)
    assert 0.005 <= loss["value"] <= 0.01
    assert loss["n"] > 5
    assert distance(bert, tmp_path / "small") < 0.03


def test_options_are_chosen_for_a_loss_in_nats(llama: Path, text: Path, tmp_path: Path) -> None:
    recipe = {"method": "fixed", "options": {"group_size": 32, "scale": "absmax"}}
    result = tersor.compress(llama, tmp_path / "small", max_loss="0.05nats", recipe=recipe, calibration=text)
    assert result["loss"]["metric"] == "kl"
    assert 0.01 <= result["loss"]["value"] <= 0.05
    assert len({row["options"].get("bits") for row in result["tensors"]}) > 1


def test_metric_that_the_model_does_not_have_is_refused(bert: Path, text: Path, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="no logits, so no kl; use metric: embedding"):
        tersor.compress(bert, tmp_path / "small", max_loss="0.01nats", calibration=text)


def test_text_too_short_to_hold_any_out_is_refused(bert: Path, tmp_path: Path) -> None:
    short = tmp_path / "short.txt"
    short.write_text("One sentence of at least eight words is all that there is.\n", encoding="utf-8")
    with pytest.raises(UsageError, match="give a longer calibration text"):
        tersor.compress(bert, tmp_path / "small", max_loss="1%", calibration=short)
