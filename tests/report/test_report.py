"""`tersor.report`: one file, the same every time, which says what it lacks."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import fsspec
import pytest
import yaml

import tersor
from report_samples import RECIPE, compress_entry, finetune_entry, full_model, ner_entry, write_model
from tersor.errors import CorruptError, MissingExtraError, OutputExistsError, UsageError
from tersor.report import detail, run
from tersor.report.blocks import Code
from tersor.report.detail import Detail
from tersor.report.reproduce import commands, provenance_facts, recipe_text, reproduction
from tersor.report.subject import read_subjects


@pytest.fixture
def full(tmp_path: Path) -> Path:
    return full_model(tmp_path / "small")


def test_result_says_what_was_written(full: Path, tmp_path: Path) -> None:
    result = tersor.report(full, tmp_path / "page.html", title="A title")
    page = (tmp_path / "page.html").read_text()
    assert result["n_bytes"] == (tmp_path / "page.html").stat().st_size
    assert result["models"] == [
        {"path": str(full), "n_bytes": (full / "model.tersor.safetensors").stat().st_size, "label": "small"}
    ]
    assert result["n_evaluations"] == 1
    assert result["n_charts"] > 10
    assert result["missing"] == []
    assert "<title>A title – tersor report</title>" in page


def test_equal_inputs_give_equal_bytes(full: Path, tmp_path: Path) -> None:
    tersor.report([full], tmp_path / "a.html")
    tersor.report([full], tmp_path / "b.html")
    assert (tmp_path / "a.html").read_bytes() == (tmp_path / "b.html").read_bytes()


def test_what_is_not_recorded_is_said_with_the_command(tmp_path: Path) -> None:
    archive = write_model(tmp_path / "a b")
    result = tersor.report(archive, tmp_path / "page.html", original=archive)
    assert len(result["missing"]) == 3
    page = (tmp_path / "page.html").read_text()
    assert "No evaluation is recorded" in page
    assert f"tersor evaluate &#39;{archive}&#39;" in page


def test_packed_archive_has_no_errors_to_miss(tmp_path: Path) -> None:
    source = tmp_path / "source"
    source.mkdir()
    (source / "notes.txt").write_text("some text\n" * 1000)
    tersor.pack(source, tmp_path / "packed")
    result = tersor.report(tmp_path / "packed", tmp_path / "page.html")
    assert [words for words in result["missing"] if "evaluation" not in words] == []
    assert "packed without loss" in (tmp_path / "page.html").read_text()


def test_evaluation_files_are_shown_beside_the_histories(tmp_path: Path) -> None:
    archive = write_model(tmp_path / "small")
    entry = ner_entry("bert", str(archive), 9_000)
    (tmp_path / "ner.json").write_text(json.dumps(entry))
    result = tersor.report(archive, tmp_path / "page.html", evaluations=[tmp_path / "ner.json"])
    assert result["n_evaluations"] == 1
    assert "ner on eng.testb" in (tmp_path / "page.html").read_text()


@pytest.mark.parametrize("content", ["", "{}", "[]", "[" * 5000, '{"models": 1}', "\udcff"])
def test_other_files_are_no_evaluations(tmp_path: Path, content: str) -> None:
    archive = write_model(tmp_path / "small")
    (tmp_path / "x.json").write_bytes(content.encode(errors="surrogateescape"))
    with pytest.raises(UsageError, match="evaluate"):
        tersor.report(archive, tmp_path / "page.html", evaluations=[tmp_path / "x.json"])
    assert not (tmp_path / "page.html").exists()


def test_existing_page_is_replaced_with_force_only(full: Path, tmp_path: Path) -> None:
    (tmp_path / "page.html").write_text("mine")
    with pytest.raises(OutputExistsError, match="--force"):
        tersor.report(full, tmp_path / "page.html")
    assert (tmp_path / "page.html").read_text() == "mine"
    tersor.report(full, tmp_path / "page.html", force=True)
    assert (tmp_path / "page.html").read_text().startswith("<!doctype html>")


def test_page_inside_an_archive_is_refused(full: Path) -> None:
    with pytest.raises(UsageError, match="overlaps"):
        tersor.report(full, full / "page.html")


@pytest.mark.parametrize("n_models", [0, run.MAX_MODELS + 1])
def test_number_of_models_is_checked(n_models: int, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="1 to 12"):
        tersor.report(["x"] * n_models, tmp_path / "page.html")


def test_damaged_archive_is_no_page(full: Path, tmp_path: Path) -> None:
    weights = full / "model.tersor.safetensors"
    data = bytearray(weights.read_bytes())
    data[len(data) // 2] ^= 0xFF
    weights.write_bytes(data)
    with pytest.raises(CorruptError):
        tersor.report(full, tmp_path / "page.html")
    assert not (tmp_path / "page.html").exists()


def test_missing_extra_is_named(full: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("tersor.report.layout", "tersor.report.page"):
        monkeypatch.delitem(sys.modules, name, raising=False)
    monkeypatch.setitem(sys.modules, "jinja2", None)
    with pytest.raises(MissingExtraError, match=r"tersor\[report\]"):
        tersor.report(full, tmp_path / "page.html")


def test_detail_is_left_out_until_the_page_fits(
    full: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(detail, "LEVELS", (Detail(100, 100, 8), Detail(9, 3, 2)))
    whole = tersor.report(full, tmp_path / "whole.html")["n_bytes"]
    monkeypatch.setattr(run, "MAX_PAGE_BYTES", whole - 1)
    assert tersor.report(full, tmp_path / "less.html")["n_bytes"] < whole
    assert "3 smaller tensors" in (tmp_path / "less.html").read_text()
    monkeypatch.setattr(run, "MAX_PAGE_BYTES", 1000)
    with pytest.raises(UsageError, match="give fewer"):
        tersor.report(full, tmp_path / "none.html")
    assert not (tmp_path / "none.html").exists()


def test_import_is_light() -> None:
    heavy = ("altair", "vl_convert", "jinja2", "numpy", "torch")
    code = f"import tersor, sys; tersor.report; print(*[m for m in {heavy!r} if m in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert not {"altair", "vl_convert", "jinja2", "torch"} & set(done.stdout.split())


def test_recipe_and_commands_make_it_again(full: Path) -> None:
    subject = read_subjects([full], 2)[0]
    assert yaml.safe_load(recipe_text(subject.facts["recipe"])) == RECIPE
    compress, finetune, evaluate = commands(subject, "my bert", has_recipe=True)
    assert compress == "tersor compress 'my bert' -o COMPRESSED --recipe recipe.yaml"
    assert finetune == f"tersor finetune COMPRESSED -o {full} --task ner --data DATA --teacher 'my bert'"
    assert evaluate == f"tersor evaluate 'my bert' {full} --task ner --data eng.testb --record"
    assert ["program", "tersor 0"] in provenance_facts(subject)


@pytest.mark.parametrize(
    ("epochs", "command"),
    [
        (5, "tersor finetune MODEL -o {out} --task ner --data DATA --recipe recipe.yaml"),
        (0, "tersor finetune bert -o {out} --task ner --data DATA --recipe recipe.yaml --epochs 0"),
    ],
)
def test_one_run_that_trained_and_compressed_is_one_command(
    tmp_path: Path, epochs: int, command: str
) -> None:
    entry = {"kind": "finetune", "task": "ner", "stage": "task", "log": [], "settings": {"epochs": epochs}}
    recipe = {"size": "0.1x", "calibration": "ner-sentences.lines"}
    archive = write_model(tmp_path / "a", [compress_entry(), entry, finetune_entry()], recipe=recipe)
    subject = read_subjects([archive], 2)[0]
    assert commands(subject, "bert", has_recipe=True) == [command.format(out=archive)]
    shown = reproduction(subject, None)[0]
    assert isinstance(shown, Code)
    assert shown.text == "size: 0.1x"  # its calibration text is the task's own


def test_packed_archive_is_packed_again(tmp_path: Path) -> None:
    archive = write_model(tmp_path / "a", command="pack", recipe=None, level="max")
    subject = read_subjects([archive], 2)[0]
    assert commands(subject, "bert", has_recipe=False) == [f"tersor pack bert -o {archive} --level max"]


def test_recipe_that_yaml_cannot_hold_is_said() -> None:
    nested: dict[str, object] = {}
    for _ in range(5000):
        nested = {"a": nested}
    assert recipe_text(nested).startswith("# ")


def test_archive_behind_a_url_is_shown_without_its_codes(tmp_path: Path) -> None:
    archive = full_model(tmp_path / "small")
    memory = fsspec.filesystem("memory")
    memory.put(str(archive), "/report-test", recursive=True)
    result = tersor.report("memory://report-test", tmp_path / "page.html")
    memory.rm("/report-test", recursive=True)
    assert [model["label"] for model in result["models"]] == ["report-test"]
    assert "its codes were not fetched" in (tmp_path / "page.html").read_text()
    assert result["n_charts"] == 2
