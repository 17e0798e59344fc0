"""The verbs at work, through the installed script."""

from __future__ import annotations

import json
import os
import resource
import shutil
import signal
import subprocess
import time
from collections.abc import Callable
from pathlib import Path

import pytest

Run = Callable[..., subprocess.CompletedProcess[str]]


def _json(done: subprocess.CompletedProcess[str]) -> dict:
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


def _files(folder: Path) -> dict[str, bytes]:
    return {str(p.relative_to(folder)): p.read_bytes() for p in folder.rglob("*") if p.is_file()}


@pytest.fixture
def packed(run_tersor: Run, checkpoint: Path, tmp_path: Path) -> Path:
    done = run_tersor("pack", checkpoint, "-o", tmp_path / "packed", "--json")
    assert done.returncode == 0, done.stderr
    return tmp_path / "packed"


def _damage(archive: Path) -> None:
    """Flip one bit in the middle of the largest weights file."""
    path = max(archive.rglob("*.tersor.safetensors"), key=lambda p: p.stat().st_size)
    data = bytearray(path.read_bytes())
    data[-len(data) // 4] ^= 1
    path.write_bytes(data)


def test_pack_then_unpack_gives_the_same_files(run_tersor: Run, checkpoint: Path, tmp_path: Path) -> None:
    result = _json(run_tersor("pack", "model", "-o", "packed", "--json"))
    assert {"input", "output", "tensors", "seconds", "peak_rss_bytes", "version"} <= set(result)
    assert result["input"]["path"] == "model"
    assert result["output"]["path"] == "packed"
    _json(run_tersor("unpack", "packed", "-o", "back", "--json"))
    assert _files(tmp_path / "back") == _files(checkpoint)


def test_tables_are_for_people(run_tersor: Run, packed: Path) -> None:
    done = run_tersor("inspect", "packed", "--tensors")
    assert done.returncode == 0, done.stderr
    assert "a.weight" in done.stdout
    assert "64x48" in done.stdout
    assert "a.weight" not in run_tersor("inspect", "packed").stdout


def test_inspect_json_describes_each_tensor(run_tersor: Run, packed: Path) -> None:
    result = _json(run_tersor("inspect", "packed", "--json"))
    keys = {"name", "shape", "dtype", "layout", "codec", "n_bytes", "bits_per_weight", "error"}
    by_name = {tensor["name"]: tensor for tensor in result["tensors"]}
    assert keys <= set(by_name["a.weight"])
    assert by_name["a.weight"]["shape"] == [64, 48]
    assert by_name["a.weight"]["dtype"] == "F32"
    assert {"input", "output", "seconds", "peak_rss_bytes", "recipe", "version"} <= set(result)


def test_verify_says_ok_and_counts(run_tersor: Run, packed: Path) -> None:
    result = _json(run_tersor("verify", "packed", "--against", "model", "--json"))
    assert result["ok"] is True
    assert result["problems"] == []
    assert result["n_tensors"] >= 2
    assert run_tersor("verify", "packed").stdout.startswith("packed: ok (")


def test_verify_of_a_damaged_archive_exits_with_3_and_names_the_problem(
    run_tersor: Run, packed: Path
) -> None:
    _damage(packed)
    done = run_tersor("verify", "packed", "--json")
    assert done.returncode == 3
    result = json.loads(done.stdout)
    assert result["ok"] is False
    assert result["problems"]
    assert "problems (" in run_tersor("verify", "packed").stdout


def test_verify_against_another_model_exits_with_3(run_tersor: Run, packed: Path, checkpoint: Path) -> None:
    (checkpoint / "notes" / "read.me").write_text("other text\n")
    done = run_tersor("verify", "packed", "--against", "model")
    assert done.returncode == 3
    assert "read.me" in done.stdout


def test_unpack_of_a_damaged_archive_exits_with_3_and_leaves_nothing(
    run_tersor: Run, packed: Path, tmp_path: Path
) -> None:
    _damage(packed)
    done = run_tersor("unpack", "packed", "-o", "back", "--json")
    assert done.returncode == 3
    assert json.loads(done.stdout)["error"]["kind"] == "CorruptError"
    assert sorted(os.listdir(tmp_path)) == ["model", "packed"]


def test_inspect_of_something_else_is_a_clear_error(run_tersor: Run, tmp_path: Path) -> None:
    (tmp_path / "x.tersor.safetensors").write_bytes(b"not an archive")
    done = run_tersor("inspect", "x.tersor.safetensors")
    assert done.returncode == 3
    assert done.stderr.startswith("error: ")
    assert len(done.stderr.splitlines()) == 1


@pytest.mark.parametrize("verb", [("pack", "model"), ("unpack", "packed"), ("pack", "model", "--dry-run")])
def test_existing_output_is_refused(verb: tuple[str, ...], run_tersor: Run, packed: Path) -> None:
    before = _files(packed)
    done = run_tersor(*verb, "-o", "packed" if verb[0] == "pack" else "model")
    assert done.returncode == 2
    assert "exists already" in done.stderr
    assert _files(packed) == before


def test_force_replaces_an_archive_but_nothing_else(run_tersor: Run, packed: Path) -> None:
    assert run_tersor("pack", "model", "-o", "packed", "--force").returncode == 0
    done = run_tersor("unpack", "packed", "-o", "model", "--force")
    assert done.returncode == 2
    assert "--force does not replace" in done.stderr


def test_dry_run_of_pack_lists_the_files_and_writes_nothing(
    run_tersor: Run, checkpoint: Path, tmp_path: Path
) -> None:
    plan = _json(run_tersor("pack", "model", "-o", "packed", "--dry-run", "--json"))
    assert plan["dry_run"] is True
    assert {file["path"]: file["role"] for file in plan["files"]}["model.safetensors"] == "weights"
    assert sorted(os.listdir(tmp_path)) == ["model"]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--codec", "zstandard"], "did you mean 'zstd'"),
        (["--level", "balance"], "balanced"),
    ],
)
def test_unknown_codec_or_level_names_the_nearest(
    arguments: list[str], message: str, run_tersor: Run, checkpoint: Path, tmp_path: Path
) -> None:
    done = run_tersor("pack", "model", "-o", "packed", *arguments)
    assert done.returncode == 2
    assert message in done.stderr
    assert sorted(os.listdir(tmp_path)) == ["model"]


def test_full_disk_exits_with_1_and_leaves_nothing(
    tersor_script: Path, checkpoint: Path, tmp_path: Path
) -> None:
    done = subprocess.run(
        [tersor_script, "pack", checkpoint, "-o", tmp_path / "packed"],
        capture_output=True,
        text=True,
        timeout=60,
        preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (4096, 4096)),
    )
    assert done.returncode == 1
    assert "cannot be written" in done.stderr
    assert os.listdir(tmp_path) == ["model"]


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_interrupted_pack_exits_with_130_and_leaves_nothing(
    number: signal.Signals, tersor_script: Path, noise: Path, tmp_path: Path
) -> None:
    command = [tersor_script, "pack", noise, "-o", tmp_path / "packed", "--threads", "2"]
    with subprocess.Popen(
        command,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
    ) as process:
        end = time.monotonic() + 60
        while not list(tmp_path.glob(".packed.tersor-*")):
            assert process.poll() is None, "finished before it could be interrupted"
            assert time.monotonic() < end
            time.sleep(0.002)
        process.send_signal(number)
        out, err = process.communicate(timeout=60)
    assert process.returncode == 130, err
    assert out == ""
    assert err.split() == ["error:", "interrupted"]
    assert os.listdir(tmp_path) == ["noise"]


def test_text_of_a_name_with_escapes_is_harmless(run_tersor: Run, checkpoint: Path) -> None:
    shutil.copy(checkpoint / "model.safetensors", checkpoint / "\x1b[2J.safetensors")
    done = run_tersor("pack", "model", "-o", "packed", "--dry-run")
    assert done.returncode == 0, done.stderr
    assert "\x1b" not in done.stdout
    assert "\\x1b[2J.safetensors" in done.stdout
