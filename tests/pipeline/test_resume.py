"""A run that was killed goes on, and ends with the same bytes."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from hashlib import sha256
from pathlib import Path

import pytest

import tersor
from models import tiny_bert
from tersor.pipeline.journal import Journal

RUN = """
import sys, tersor
tersor.compress(sys.argv[1], sys.argv[2], size="0.2x", calibration=sys.argv[3], resume=True)
"""


def digest(folder: Path) -> str:
    return sha256((folder / "model.tersor.safetensors").read_bytes()).hexdigest()


def test_killed_run_resumes_to_identical_bytes(
    text: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    bert = tiny_bert(tmp_path / "bert")
    monkeypatch.setenv("TERSOR_CACHE", str(tmp_path / "cache"))
    command = [sys.executable, "-c", RUN, str(bert), str(tmp_path / "small"), str(text)]
    with subprocess.Popen(command, stderr=subprocess.DEVNULL, env=dict(os.environ)) as process:
        end = time.monotonic() + 100
        # The first figure in the journal: calibration is over, a file has been made.
        while not list((tmp_path / "cache").glob("compress/*.json")):
            if process.poll() is not None:  # so fast that it finished: nothing is left to resume
                break
            assert time.monotonic() < end
            time.sleep(0.002)
        process.send_signal(signal.SIGKILL)
        process.wait()
    if not (tmp_path / "small").exists():
        tersor.compress(bert, tmp_path / "small", size="0.2x", calibration=text, resume=True)
    tersor.compress(bert, tmp_path / "again", size="0.2x", calibration=text)
    assert digest(tmp_path / "small") == digest(tmp_path / "again")
    assert list((tmp_path / "cache").glob("compress/*.json")) == []
    assert sorted(path.name for path in tmp_path.iterdir()) == ["again", "bert", "cache", "small"]


def test_journal_keeps_figures_until_the_work_is_done(tmp_path: Path) -> None:
    path = tmp_path / "folder" / "journal.json"
    calls = []

    def measure() -> float:
        calls.append(1)
        return 7.5

    assert Journal(path, "key", resume=True).remember("a", measure) == 7.5
    resumed = Journal(path, "key", resume=True)
    assert resumed.remember("a", measure) == 7.5
    assert len(calls) == 1
    assert Journal(path, "key", resume=False).remember("a", measure) == 7.5
    assert len(calls) == 2
    resumed.finish()
    assert not path.exists()


@pytest.mark.parametrize(
    "text",
    [
        "",
        "{",
        "[]",
        '{"key": "key"}',
        '{"key": "other", "figures": {"a": 1}}',
        '{"key": "key", "figures": 3}',
    ],
)
def test_damaged_journal_counts_as_empty(tmp_path: Path, text: str) -> None:
    path = tmp_path / "journal.json"
    path.write_text(text, encoding="utf-8")
    assert Journal(path, "key", resume=True).remember("a", lambda: 2.0) == 2.0


def test_without_a_cache_nothing_is_kept(tmp_path: Path) -> None:
    journal = Journal(None, "key", resume=True)
    assert journal.remember("a", lambda: 1.0) == 1.0
    journal.finish()


def test_a_folder_that_cannot_be_written_does_not_end_the_work(tmp_path: Path) -> None:
    (tmp_path / "compress").write_text("a file where the folder should be")
    journal = Journal(tmp_path / "compress" / "key.json", "key", resume=False)
    assert journal.remember("a", lambda: 3.0) == 3.0
    assert journal.remember("b", lambda: 4.0) == 4.0
    journal.finish()
    assert (tmp_path / "compress").is_file()


def test_forgotten_figures_are_measured_again(tmp_path: Path) -> None:
    journal = Journal(tmp_path / "key.json", "key", resume=False)
    assert journal.remember("a", lambda: 1.0) == 1.0
    journal.forget()
    assert journal.remember("a", lambda: 2.0) == 2.0
    assert Journal(tmp_path / "key.json", "key", resume=True).remember("a", lambda: 3.0) == 2.0
