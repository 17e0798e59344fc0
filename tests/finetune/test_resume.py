"""A run killed in the middle of training goes on to the same result, byte for byte."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

from tersor.errors import UsageError
from tersor.finetune import finetune
from tersor.finetune.trainer import last_checkpoint
from tersor.finetune.work import WorkFolder

SETTINGS = {"epochs": 1, "learning_rate": 7e-3, "batch_size": 16, "evaluations": 3}
_RUN = """
import json, sys
import torch
torch.set_num_threads(1)
from tersor.finetune import finetune
source, output, data, settings = sys.argv[1:]
finetune(source, output, task="ner", data=data, settings=json.loads(settings))
"""
Outcome = tuple[Path, dict[str, Any]]


def _kill_in_training(source: Path, output: Path, data: Path, stage: str) -> Path:
    """Start a run in a process of its own and kill it when it has written a checkpoint; returns its work folder."""
    work = output.parent / f".{output.name}.finetune"
    process = subprocess.Popen(
        [sys.executable, "-c", _RUN, str(source), str(output), str(data), json.dumps(SETTINGS)],
        env={**os.environ, "HF_HUB_OFFLINE": "1"},
        stderr=subprocess.DEVNULL,
    )
    for _ in range(6000):
        if any(work.glob(f"{stage}-checkpoints/checkpoint-*")) or process.poll() is not None:
            break
        time.sleep(0.01)
    process.send_signal(signal.SIGKILL)
    process.wait()
    return work


def _weights(folder: Path) -> bytes:
    return b"".join(path.read_bytes() for path in sorted(folder.glob("*.safetensors")))


def test_a_killed_run_resumes_to_the_same_bytes(bert: Path, ner_data: Path, tmp_path: Path) -> None:
    whole = finetune(bert, tmp_path / "whole", task="ner", data=ner_data, settings=SETTINGS)
    work = _kill_in_training(bert, tmp_path / "out", ner_data, "task")
    assert work.is_dir(), "killed before it was done"
    assert not (tmp_path / "out").exists()
    result = finetune(bert, tmp_path / "out", task="ner", data=ner_data, settings=SETTINGS, resume=True)
    assert result["metrics"] == whole["metrics"]
    assert _weights(tmp_path / "out") == _weights(tmp_path / "whole")
    assert not work.exists()


def test_tuning_that_was_interrupted_resumes_to_the_same_bytes(
    small_tagger: Outcome, ner_data: Path, tmp_path: Path
) -> None:
    source = small_tagger[0]

    def interrupt(done: float, _total: float, what: str) -> None:
        if what == "tuning the small model" and done == 7:
            raise KeyboardInterrupt

    whole = finetune(source, tmp_path / "whole", task="ner", data=ner_data, settings=SETTINGS)
    with pytest.raises(KeyboardInterrupt):
        finetune(source, tmp_path / "out", task="ner", data=ner_data, settings=SETTINGS, progress=interrupt)
    assert list((tmp_path / ".out.finetune").glob("tune-checkpoints/checkpoint-4"))
    result = finetune(source, tmp_path / "out", task="ner", data=ner_data, settings=SETTINGS, resume=True)
    assert result["metrics"] == whole["metrics"]
    assert _weights(tmp_path / "out") == _weights(tmp_path / "whole")


def test_another_run_is_not_resumed(tmp_path: Path) -> None:
    WorkFolder(tmp_path / "out", {"task": "ner", "seed": 0}, resume=False)
    with pytest.raises(UsageError, match=r"the interrupted run had other arguments \(seed\)"):
        WorkFolder(tmp_path / "out", {"task": "ner", "seed": 1}, resume=True)


def test_a_checkpoint_that_was_half_written_is_passed_over(tmp_path: Path) -> None:
    for step, text in ((5, '{"global_step": 5}'), (10, '{"global_st')):
        (tmp_path / f"checkpoint-{step}").mkdir()
        (tmp_path / f"checkpoint-{step}" / "trainer_state.json").write_text(text)
    (tmp_path / "checkpoint-15").mkdir()
    assert last_checkpoint(tmp_path) == tmp_path / "checkpoint-5"
    assert [path.name for path in tmp_path.iterdir()] == ["checkpoint-5"]
    assert last_checkpoint(tmp_path / "nothing") is None


def test_without_resume_what_was_left_is_removed(tmp_path: Path) -> None:
    work = WorkFolder(tmp_path / "out", {"seed": 0}, resume=False)
    work.finish("task", {"n_steps": 1})
    assert WorkFolder(tmp_path / "out", {"seed": 0}, resume=True).done("task") == {"n_steps": 1}
    assert WorkFolder(tmp_path / "out", {"seed": 0}, resume=False).done("task") is None


def test_a_folder_that_is_not_ours_is_left_alone(tmp_path: Path) -> None:
    (tmp_path / ".out.finetune").mkdir()
    (tmp_path / ".out.finetune" / "notes.txt").write_text("mine")
    with pytest.raises(UsageError, match="is in the way and not ours"):
        WorkFolder(tmp_path / "out", {}, resume=False)
    assert (tmp_path / ".out.finetune" / "notes.txt").read_text() == "mine"
