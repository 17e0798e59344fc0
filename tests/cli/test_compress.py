"""`tersor compress` on a tiny model: slow to start (torch, transformers), so few runs."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from models import tiny_bert

Run = Callable[..., subprocess.CompletedProcess[str]]

RECIPE = "size: 0.9x\nmethod: rtn\ncalibration: text.txt\nseed: 3\n"


@pytest.fixture
def bert(tmp_path: Path) -> Path:
    (tmp_path / "text.txt").write_text("One sentence of at least eight words is enough here.\n" * 40)
    (tmp_path / "recipe.yaml").write_text(RECIPE)
    return tiny_bert(tmp_path / "bert")


def test_size_beside_a_recipe_wins_and_is_met(run_tersor: Run, bert: Path, tmp_path: Path) -> None:
    arguments = ("compress", "bert", "-o", "small", "--recipe", "recipe.yaml", "--size", "0.25x", "--json")
    done = run_tersor(*arguments)
    assert done.returncode == 0, done.stderr
    result = json.loads(done.stdout)
    assert {"input", "output", "tensors", "seconds", "peak_rss_bytes", "recipe", "version"} <= set(result)
    assert result["recipe"]["size"] == "0.25x"
    assert (result["recipe"]["method"], result["recipe"]["seed"]) == ("rtn", 3)
    written = sum(path.stat().st_size for path in (tmp_path / "small").glob("*.tersor.safetensors"))
    original = (bert / "model.safetensors").stat().st_size
    assert result["output"]["n_bytes"] == written <= 0.25 * original
    assert run_tersor("verify", "small", "--against", "bert").returncode == 0
    refused = run_tersor("unpack", "small", "-o", "back")
    assert refused.returncode == 2
    assert "keeps no original" in refused.stderr


def test_size_that_cannot_be_reached_exits_with_4_and_names_one_that_can(
    run_tersor: Run, bert: Path, tmp_path: Path
) -> None:
    before = sorted(os.listdir(tmp_path))
    done = run_tersor("compress", "bert", "-o", "small", "--size", "1kB", "--json")
    assert done.returncode == 4
    error = json.loads(done.stdout)["error"]
    assert error["kind"] == "BudgetError"
    assert "bytes" in error["message"]
    assert sorted(os.listdir(tmp_path)) == before


def test_dry_run_shows_every_tensor_and_writes_nothing(run_tersor: Run, bert: Path, tmp_path: Path) -> None:
    before = sorted(os.listdir(tmp_path))
    done = run_tersor("compress", "bert", "-o", "small", "--size", "0.25x", "--dry-run")
    assert done.returncode == 0, done.stderr
    assert "embeddings.word_embeddings.weight" in done.stdout
    assert "nothing was written" in done.stdout
    assert "built-in text" in done.stderr
    assert sorted(os.listdir(tmp_path)) == before


def test_unknown_method_of_a_recipe_names_the_nearest(run_tersor: Run, bert: Path, tmp_path: Path) -> None:
    (tmp_path / "recipe.yaml").write_text("size: 0.2x\nmethod: gptk\n")
    done = run_tersor("compress", "bert", "-o", "small", "--recipe", "recipe.yaml")
    assert done.returncode == 2
    assert "did you mean 'gptq'" in done.stderr


def test_interrupted_compress_exits_with_130_and_leaves_nothing(
    tersor_script: Path, bert: Path, tmp_path: Path
) -> None:
    before = sorted(os.listdir(tmp_path))
    command = [tersor_script, "compress", bert, "-o", tmp_path / "small", "--size", "0.25x", "-q"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        end = time.monotonic() + 100
        while not list(tmp_path.glob(".small.tersor-*")):
            assert process.poll() is None, "finished before it could be interrupted"
            assert time.monotonic() < end
            time.sleep(0.002)
        process.send_signal(signal.SIGTERM)
        _, err = process.communicate(timeout=60)
    assert process.returncode == 130, err
    assert err.split() == ["error:", "interrupted"]
    assert sorted(os.listdir(tmp_path)) == before
