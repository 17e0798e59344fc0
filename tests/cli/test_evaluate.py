"""`tersor evaluate` on a tiny model: slow to start (torch, transformers), so few runs."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Callable
from pathlib import Path

from models import tiny_bert

Run = Callable[..., subprocess.CompletedProcess[str]]


def test_evaluate_compares_a_model_with_its_original(run_tersor: Run, tmp_path: Path) -> None:
    tiny_bert(tmp_path / "bert")
    (tmp_path / "text.txt").write_text("One sentence of at least eight words is enough here.\n" * 3)
    arguments = ["bert", "bert", "--task", "embedding", "--data", "text.txt", "--threads", "1", "--json"]
    done = run_tersor("evaluate", *arguments)
    assert done.returncode == 0, done.stderr
    original, same = json.loads(done.stdout)["models"]
    assert set(original) == {"path", "n_bytes", "metrics", "report"}
    assert original["n_bytes"] == (tmp_path / "bert" / "model.safetensors").stat().st_size
    assert original == same
    keys = {"name", "value", "unit", "n", "stderr", "higher_is_better"}
    assert all(set(metric) == keys for metric in original["metrics"])
    assert abs(original["metrics"][0]["value"]) < 1e-6


def test_unknown_task_names_the_nearest_and_exits_with_2(run_tersor: Run, tmp_path: Path) -> None:
    done = run_tersor("evaluate", tmp_path, "--task", "perplexty")
    assert done.returncode == 2
    assert "did you mean 'perplexity'" in done.stderr
