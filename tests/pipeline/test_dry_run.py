"""What a dry run says, and that it comes true."""

from __future__ import annotations

from pathlib import Path

import pytest

import tersor
from models import tiny_bert
from tersor.pipeline import dry_run
from tersor.pipeline.memory import begin_phase, phase_peak_bytes


@pytest.fixture(scope="module")
def bert(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tiny_bert(tmp_path_factory.mktemp("bert") / "model", hidden=64)


def test_sizes_and_errors_of_a_dry_run_come_true(bert: Path, text: Path, tmp_path: Path) -> None:
    plan = tersor.compress(bert, tmp_path / "small", size="0.15x", calibration=text, dry_run=True)
    assert list(tmp_path.iterdir()) == []
    result = tersor.compress(bert, tmp_path / "small", size="0.15x", calibration=text)
    assert plan["output"]["n_bytes"] == pytest.approx(result["output"]["n_bytes"], rel=0.01)
    predicted = {row["name"]: row for row in plan["tensors"]}
    for row in result["tensors"]:
        if row["n_bytes"] > 4000:
            assert predicted[row["name"]]["n_bytes"] == pytest.approx(row["n_bytes"], rel=0.1), row["name"]
    assert plan["prediction"]["metric"] == "embedding"
    assert 0 < plan["prediction"]["error"] < 1
    assert plan["prediction"]["seconds"] > 0
    assert plan["prediction"]["peak_rss_bytes"] == pytest.approx(result["peak_rss_bytes"], rel=0.3)


def test_options_are_planned_per_tensor(bert: Path, text: Path, tmp_path: Path) -> None:
    plan = tersor.compress(
        bert, tmp_path / "s", size="0.15x", recipe={"method": "fixed"}, calibration=text, dry_run=True
    )
    bits = {row["name"]: row["options"].get("bits") for row in plan["tensors"] if row["method"] == "fixed"}
    assert len(bits) > 5
    assert all(isinstance(value, int) for value in bits.values())


def test_expensive_calibration_is_left_out_and_said(
    bert: Path, text: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(dry_run, "CHEAP_SECONDS", 0.0)
    plan = tersor.compress(bert, tmp_path / "small", size="0.14x", seed=99, calibration=text, dry_run=True)
    assert any("calibration will take about" in note for note in plan["prediction"]["notes"])
    assert plan["prediction"]["error"] is None
    assert all(row["error"] in (None, 0.0) for row in plan["tensors"])


def test_peak_of_a_phase_sees_what_the_phase_held() -> None:
    begin_phase()
    before = phase_peak_bytes()
    block = b"x" * (64 << 20)
    assert phase_peak_bytes() >= before + 0.5 * len(block)
