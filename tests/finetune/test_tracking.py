"""What TensorBoard and W&B are told, read back from their files."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from tersor.finetune import finetune
from tersor.finetune.tracking import entropy_bits

Outcome = tuple[Path, dict[str, Any]]
SETTINGS = {"max_steps": 6, "batch_size": 16, "evaluations": 2, "learning_rate": 1e-3}


@pytest.fixture(scope="module")
def ternary(tagger: Outcome, ner_data: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An archive whose linear layers are ternary."""
    from tersor.pipeline import compress

    folder = tmp_path_factory.mktemp("ternary")
    text = folder / "text.txt"
    text.write_text((ner_data / "train.conll").read_text())
    compress(tagger[0], folder / "out", recipe={"method": "ternary"}, calibration=text)
    return folder / "out"


def test_tensorboard_gets_losses_metrics_sizes_and_steps(
    ternary: Path, ner_data: Path, tmp_path: Path
) -> None:
    finetune(
        ternary,
        tmp_path / "out",
        task="ner",
        data=ner_data,
        train="codes",
        size="0.5x",
        settings=SETTINGS,
        report_to=["tensorboard"],
    )
    events = EventAccumulator(str(tmp_path / "out.runs"), size_guidance={"histograms": 0})
    events.Reload()
    tags = events.Tags()
    tracked = {"bits_per_weight", "file_bytes", "zero_rate", "loss"}
    assert {"eval/loss", "eval/f1", *(f"train/{name}" for name in tracked)} <= set(tags["scalars"])
    assert any(name.startswith("steps/") and name.endswith("query.weight") for name in tags["histograms"])
    n_bytes = (ternary / "model.tersor.safetensors").stat().st_size
    assert abs(events.Scalars("train/file_bytes")[0].value - n_bytes) < 0.2 * n_bytes
    assert 0 < events.Scalars("train/zero_rate")[-1].value < 1


def test_wandb_runs_offline(
    tagger: Outcome, ner_data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("WANDB_MODE", "offline")
    monkeypatch.setenv("WANDB_SILENT", "true")
    monkeypatch.setenv("WANDB_DIR", str(tmp_path / "out.runs"))
    finetune(
        tagger[0],
        tmp_path / "out",
        task="ner",
        data=ner_data,
        settings={**SETTINGS, "max_steps": 2},
        report_to=["wandb"],
    )
    runs = list((tmp_path / "out.runs").rglob("*.wandb"))
    assert len(runs) == 1
    assert runs[0].stat().st_size > 0


def test_entropy_of_codes() -> None:
    assert entropy_bits(torch.tensor([0, 0, 1, 1])) == pytest.approx(4.0)
    assert entropy_bits(torch.zeros(10)) == pytest.approx(0.0)
