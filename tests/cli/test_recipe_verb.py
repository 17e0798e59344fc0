"""`tersor recipe check|show|schema`."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Callable
from pathlib import Path

from tersor.cli import verb_compress
from tersor.recipe import METRICS, PURPOSES, shipped_recipes

Run = Callable[..., subprocess.CompletedProcess[str]]

GOOD = "size: 0.2x\nmethod: fixed\noptions: {bits: 4}\ntargets:\n  - {match: 'pooler.*', keep: true}\n"


def test_check_accepts_a_good_recipe(run_tersor: Run, tmp_path: Path) -> None:
    (tmp_path / "r.yaml").write_text(GOOD)
    done = run_tersor("recipe", "check", "r.yaml", "--json")
    assert done.returncode == 0, done.stderr
    result = json.loads(done.stdout)
    assert result["ok"] is True
    assert result["recipe"]["options"] == {"bits": 4}


def test_check_names_every_mistake_with_its_place_and_exits_with_2(run_tersor: Run, tmp_path: Path) -> None:
    (tmp_path / "r.yaml").write_text("size: 5\nmethod: fixd\noptions: {bitz: 4}\nseed: -1\n")
    done = run_tersor("recipe", "check", "r.yaml")
    assert done.returncode == 2
    for place in ("r.yaml:1:7:", "r.yaml:2:9:", "r.yaml:4:7:"):
        assert place in done.stderr
    assert "did you mean 'fixed'" in done.stderr


def test_show_fills_in_defaults(run_tersor: Run, tmp_path: Path) -> None:
    (tmp_path / "r.yaml").write_text("size: 0.2x\nfor: vllm\n")
    done = run_tersor("recipe", "show", "r.yaml")
    assert done.returncode == 0, done.stderr
    lines = {line.split()[0]: line.split()[1:] for line in done.stdout.splitlines()}
    assert lines["size"] == ["0.2x", "given"]
    assert lines["method"] == ["fixed", "default"]
    assert lines["drift"] == ["auto", "default"]


def test_schema_is_json(run_tersor: Run) -> None:
    done = run_tersor("recipe", "schema")
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["title"] == "tersor recipe"


def test_missing_or_superfluous_file_is_explained(run_tersor: Run, tmp_path: Path) -> None:
    (tmp_path / "r.yaml").write_text(GOOD)
    missing = run_tersor("recipe", "check")
    assert missing.returncode == 2
    assert "which recipe?" in missing.stderr
    superfluous = run_tersor("recipe", "schema", "r.yaml")
    assert superfluous.returncode == 2
    assert "takes no file" in superfluous.stderr


def test_list_and_show_know_the_shipped_recipes(run_tersor: Run) -> None:
    listed = run_tersor("recipe", "list")
    assert listed.returncode == 0, listed.stderr
    assert run_tersor("recipe", "show").stdout == listed.stdout
    names = [line.split()[0] for line in listed.stdout.splitlines()[2:]]
    assert names == list(shipped_recipes())
    shown = run_tersor("recipe", "show", "thin")
    assert shown.stdout.strip() == shipped_recipes()["thin"].strip()
    unknown = run_tersor("recipe", "show", "thim")
    assert unknown.returncode == 2
    assert "did you mean 'thin'" in unknown.stderr


def test_check_finds_a_missing_calibration_text(run_tersor: Run, tmp_path: Path) -> None:
    (tmp_path / "r.yaml").write_text("size: 0.2x\ncalibration: nothing.txt\n")
    done = run_tersor("recipe", "check", "r.yaml")
    assert done.returncode == 2
    assert "r.yaml:2:14: calibration: there is no file 'nothing.txt'" in done.stderr


def test_choices_of_the_command_line_are_those_of_recipes() -> None:
    assert verb_compress.METRICS == METRICS
    assert verb_compress.PURPOSES == PURPOSES
