"""How the tests run the command: the installed script, in a process of its own."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import save_file

SCRIPT = Path(sys.executable).with_name("tersor")
Completed = subprocess.CompletedProcess[str]


@pytest.fixture
def tersor_script() -> Path:
    assert SCRIPT.is_file(), f"{SCRIPT} is missing: install tersor into the environment that runs the tests"
    return SCRIPT


@pytest.fixture
def run_tersor(tersor_script: Path, tmp_path: Path) -> Callable[..., Completed]:
    """Return a function that runs `tersor ARGUMENTS` in tmp_path."""

    def run(*arguments: str | Path) -> Completed:
        return subprocess.run(
            [str(tersor_script), *map(str, arguments)],
            cwd=tmp_path,
            capture_output=True,
            text=True,
            timeout=120,
            env={**os.environ, "HF_HUB_OFFLINE": "1", "COLUMNS": "100"},
        )

    return run


@pytest.fixture
def checkpoint(tmp_path: Path) -> Path:
    """Return a folder with one small safetensors file, a config and a nested text."""
    folder = tmp_path / "model"
    (folder / "notes").mkdir(parents=True)
    rng = np.random.default_rng(0)
    tensors = {
        "a.weight": rng.standard_normal((64, 48)).astype(np.float32),
        "b.bias": np.zeros(48, np.float16),
    }
    save_file(tensors, folder / "model.safetensors")
    (folder / "config.json").write_text('{"model_type": "bert"}\n')
    (folder / "notes" / "read.me").write_text("some text\n" * 20)
    return folder


@pytest.fixture
def noise(tmp_path: Path) -> Iterator[Path]:
    """Return a folder whose packing takes a while: 96 MB of float32 noise."""
    folder = tmp_path / "noise"
    folder.mkdir()
    rng = np.random.default_rng(0)
    save_file(
        {f"w{i}": rng.standard_normal((2000, 3000), np.float32) for i in range(4)},
        folder / "model.safetensors",
    )
    yield folder
    (folder / "model.safetensors").unlink()
