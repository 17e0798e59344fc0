"""Recovery as a part of `compress`: the size holds, the archive says what was done, the output is closer."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch

import tersor
from models import tiny_bert, tiny_llama
from tersor.calibrate import CalibrationText, text_from_file
from tersor.corpus import calibration_sentences
from tersor.pipeline.calibration import load_tokenizer
from tersor.pipeline.recover import recovery_text
from tersor.recipe import resolve_recipe
from tersor.recovery.small import make_teacher


@pytest.fixture(scope="module")
def text(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("text") / "text.txt"
    path.write_text("\n".join(calibration_sentences()[:40]), encoding="utf-8")
    return path


@pytest.fixture(autouse=True)
def few_steps(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tersor.recovery.choice.N_STEPS", 40)


def provenance(folder: Path) -> dict[str, Any]:
    with tersor.open(folder) as archive:
        return dict(archive.provenance)


def error(original: Path, folder: Path, text: Path) -> float:
    """Mean distance of an archive's model from the original on the calibration text."""
    model = tersor.load(original)
    sample = text_from_file(text, load_tokenizer(original), model, 2048)
    teacher = make_teacher(model, sample)
    return teacher.distance(tersor.load(folder), range(len(teacher.batches)))


def _as_if_trained(folder: Path) -> None:
    """Random gains and biases: all ones or zeros take no bytes, so that any other values would exceed the size."""
    model = tersor.load(folder)
    torch.manual_seed(0)
    with torch.no_grad():
        for parameter in model.parameters():
            if parameter.ndim == 1:
                parameter.add_(0.2 * torch.randn(parameter.shape))
    model.save_pretrained(folder)


@pytest.mark.parametrize("make", [tiny_bert, tiny_llama], ids=["bert", "llama"])
def test_drift_correction_brings_the_output_closer_at_the_same_size(
    make: Any, text: Path, tmp_path: Path
) -> None:
    model = make(tmp_path / "model", hidden=64)
    _as_if_trained(model)
    for word in ("off", "on"):
        recipe = {"size": "0.1x", "drift": word, "tune": "off"}
        result = tersor.compress(model, tmp_path / word, recipe=recipe, calibration=text)
        assert 0.995 * 0.1 <= result["output"]["ratio"] <= 0.1
    assert error(model, tmp_path / "on", text) < 0.95 * error(model, tmp_path / "off", text)
    assert "drift" not in provenance(tmp_path / "off")
    assert provenance(tmp_path / "on")["drift"]["n_corrected"] >= 12
    assert tersor.verify(tmp_path / "on")["ok"]


def test_tuning_changes_small_tensors_only_and_the_archive_says_so(text: Path, tmp_path: Path) -> None:
    model = tiny_llama(tmp_path / "model", hidden=96)
    _as_if_trained(model)
    for word in ("off", "on"):
        recipe = {"size": "0.1x", "drift": "off", "tune": word}
        result = tersor.compress(model, tmp_path / word, recipe=recipe, calibration=text)
        assert 0.995 * 0.1 <= result["output"]["ratio"] <= 0.1
    found = provenance(tmp_path / "on")["tune"]
    assert (found["n_steps"], found["n_tensors"]) == (40, 5)
    assert found["error"][1] < found["error"][0]
    with tersor.open(tmp_path / "off") as before, tersor.open(tmp_path / "on") as after:
        changed = {name for name in before if not np.array_equal(before[name], after[name])}
    assert changed
    assert all("norm" in name for name in changed)


def test_recovered_bytes_do_not_depend_on_threads(text: Path, tmp_path: Path) -> None:
    model = tiny_bert(tmp_path / "model")
    recipe = {"size": "0.2x", "drift": "on", "tune": "off"}
    for threads in (1, 2):
        tersor.compress(model, tmp_path / f"{threads}", recipe=recipe, calibration=text, threads=threads)
    name = "model.tersor.safetensors"
    assert (tmp_path / "1" / name).read_bytes() == (tmp_path / "2" / name).read_bytes()


def test_a_model_without_blocks_is_compressed_and_the_archive_says_why(text: Path, tmp_path: Path) -> None:
    from models import tiny_albert

    model = tiny_albert(tmp_path / "model")
    tersor.compress(model, tmp_path / "small", recipe={"size": "0.3x", "drift": "on"}, calibration=text)
    notes = provenance(tmp_path / "small")["drift"]["notes"]
    assert notes[-1] == "no blocks found: quantized without drift correction"


def test_no_pass_that_fits_leaves_the_plain_archive(
    text: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("tersor.pipeline.recover.MAX_PASSES", 0)
    model = tiny_bert(tmp_path / "model")
    tersor.compress(model, tmp_path / "small", recipe={"size": "0.3x", "drift": "on"}, calibration=text)
    assert "drift" not in provenance(tmp_path / "small")
    assert tersor.verify(tmp_path / "small")["ok"]


@pytest.mark.parametrize(
    ("recipe", "is_longer"),
    [({"size": "2bpw"}, True), ({"size": "2bpw", "calibration": ""}, True), ({"max_loss": "1%"}, False)],
    ids=["built-in", "file", "held-out"],
)
def test_recovery_sees_more_text_unless_a_part_is_held_out(
    recipe: dict[str, str], is_longer: bool, text: Path, tmp_path: Path
) -> None:
    folder = tiny_bert(tmp_path / "model")
    if "calibration" in recipe:
        recipe = {**recipe, "calibration": str(text)}
    model, tokenizer = tersor.load(folder), load_tokenizer(folder)
    job: Any = SimpleNamespace(recipe=resolve_recipe(recipe))
    calibration = CalibrationText(((1, 2, 3),), "three tokens")
    found = recovery_text(job, tokenizer, model, calibration)
    assert (found.n_tokens > 1000) == is_longer
