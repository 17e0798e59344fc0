"""`tersor report` as it is typed."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from subprocess import CompletedProcess

import pytest

from report_samples import full_model, write_model
from tersor.cli.verb_report import report

Run = Callable[..., CompletedProcess[str]]


def test_report_prints_what_it_wrote_as_json(run_tersor: Run, tmp_path: Path) -> None:
    full_model(tmp_path / "small")
    done = run_tersor("report", "small", "-o", "page.html", "--json")
    assert done.returncode == 0, done.stderr
    result = json.loads(done.stdout)
    assert result["path"] == "page.html"
    assert result["n_bytes"] == (tmp_path / "page.html").stat().st_size


def test_report_says_what_is_missing(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    archive = write_model(tmp_path / "small")
    report.main([str(archive), "-o", str(tmp_path / "page.html")], standalone_mode=False)
    assert "missing: Quality: No evaluation is recorded" in capsys.readouterr().out


def test_report_that_cannot_be_is_a_usage_error(run_tersor: Run, tmp_path: Path) -> None:
    write_model(tmp_path / "small")
    (tmp_path / "page.html").write_text("mine")
    done = run_tersor("report", "small", "-o", "page.html")
    assert (done.returncode, done.stderr.count("\n")) == (2, 1)
    assert "--force" in done.stderr
    assert run_tersor("report", "nowhere", "-o", "other.html").returncode == 2
