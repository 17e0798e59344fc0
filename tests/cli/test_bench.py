"""`tersor bench` through the installed script."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Callable
from pathlib import Path
from xml.etree import ElementTree

import pytest

Run = Callable[..., subprocess.CompletedProcess[str]]
QUICK = ("--runs", "1", "--threads", "1", "--level", "fast", "--peer", "memcpy", "--peer", "tersor")


def test_bench_prints_a_table_and_draws(run_tersor: Run, checkpoint: Path, tmp_path: Path) -> None:
    done = run_tersor("bench", "lossless", "model", *QUICK, "--plot", "ratio.svg")
    assert done.returncode == 0, done.stderr
    lines = done.stdout.splitlines()
    assert lines[0].split()[0] == "coder"
    assert any(line.startswith("tersor fast") for line in lines)
    assert "F32" in done.stdout
    assert ElementTree.parse(tmp_path / "ratio.svg").getroot().tag.endswith("svg")


def test_bench_prints_one_json_object(run_tersor: Run, checkpoint: Path) -> None:
    done = run_tersor("bench", "lossless", "model", *QUICK, "--dtype", "bf16", "--json")
    assert done.returncode == 0, done.stderr
    result = json.loads(done.stdout)
    assert result["subject"] == "lossless"
    assert result["input"]["dtype"] == "BF16"
    assert {row["coder"] for row in result["rows"]} == {"memcpy", "tersor fast"}


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("lossy", "model"), "'lossy' is not one of 'lossless', 'quality'"),
        (("lossless", "model", "--task", "kl"), "--task: only for `tersor bench quality`, not for lossless"),
        (("quality", "model", "--task", "kl", "--runs", "5"), "--runs: only for `tersor bench lossless`"),
        (("quality", "model", "--task", "kl", "--level", "max"), "--level: only for `tersor bench lossless`"),
        (("quality", "--task", "kl"), "needs MODEL"),
        (("quality", "model"), "needs --task"),
        (("quality", "model", "--task", "kl", "--threads", "1", "--threads", "2"), "takes one number, got 2"),
        (("quality", "model", "--task", "kl", "--peer", "ggm"), "did you mean 'ggml'"),
        (("quality", "model", "--task", "kl", "--peer-python", "no/python"), "'no/python': no such program"),
        (("lossless", "model", "--peer-python", "no/python"), "'no/python': no such program"),
        (("lossless", "model", "--peer", "zst"), "did you mean 'zstd'"),
        (("lossless", "model", "--dtype", "fp8"), "'fp8' is not one of"),
        (("lossless", "model", "--plot", "nowhere/x.svg"), "nowhere"),
    ],
)
def test_what_bench_cannot_do_exits_with_2(
    arguments: tuple[str, ...], message: str, run_tersor: Run, checkpoint: Path
) -> None:
    done = run_tersor("bench", *arguments)
    assert done.returncode == 2
    assert message in done.stderr
