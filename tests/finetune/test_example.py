"""examples/ner.py at work on a tiny model."""

from __future__ import annotations

import runpy
import sys
from dataclasses import replace
from importlib import import_module
from pathlib import Path

import pytest

from finetune_runs import ner_lines

EXAMPLE = Path(__file__).parents[2] / "examples" / "ner.py"


def test_the_example_trains_compresses_and_tags(
    bert: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    data = tmp_path / "data"
    data.mkdir()
    for seed, split in enumerate(("train", "dev", "test")):
        (data / f"{split}.conll").write_text(ner_lines(12, seed))
    plan = import_module("tersor.finetune.plan")
    monkeypatch.setattr(plan, "SMALL_DEFAULTS", replace(plan.SMALL_DEFAULTS, max_steps=4))
    monkeypatch.setattr(sys, "argv", ["ner.py", str(bert), str(data), str(tmp_path / "out"), "0.3x"])
    runpy.run_path(str(EXAMPLE), run_name="__main__")
    printed = capsys.readouterr().out
    assert "after compress" in printed
    assert "bytes, 0.2" in printed
