"""The commands and the code of docs/evaluate.md run, on tiny models under the page's names."""

from __future__ import annotations

import re
import shlex
import shutil
import sys
from pathlib import Path

import pytest
import yaml
from transformers import AutoModelForSequenceClassification

import tersor
from measuring import InThisProcess, with_head
from models import tiny_bert
from tersor.cli.app import run
from tersor.evaluate import speed
from tersor.history import read_history

PAGE = (Path(__file__).resolve().parents[2] / "docs" / "evaluate.md").read_text(encoding="utf-8")
COMMANDS = [line for block in re.findall(r"```sh\n(.*?)```", PAGE, re.DOTALL) for line in block.splitlines()]
PYTHON = re.findall(r"```python\n(.*?)```", PAGE, re.DOTALL)
FEWER_ROUNDS = {"--rounds 20": "--rounds 5", "--lengths 32,128": "--lengths 8"}


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory, folders: dict[str, Path], ner_file: Path) -> Path:
    """A folder with everything that the page names."""
    root = tmp_path_factory.mktemp("page")
    for name, made in {"bert_ner": "ner", "bert": "bert", "llama": "llama"}.items():
        shutil.copytree(folders[made], root / name)
    with_head(tiny_bert(root / "classifier"), AutoModelForSequenceClassification, ("1", "2"))
    originals = {
        "small": "bert_ner",
        "small_bert": "bert",
        "small_llama": "llama",
        "small_classifier": "classifier",
    }
    for name, original in originals.items():
        tersor.pack(root / original, root / name)
    (root / "conll2003").mkdir()
    for split in ("testa", "testb"):
        (root / "conll2003" / f"eng.{split}").write_text("\n".join(ner_file.read_text().split("\n")[:200]))
    (root / "reviews.csv").write_text("text,stars\n" + "bad,1\ngood,2\n" * 4)
    sentence = "A sentence of at least eight words is number {} of this text.\n"
    (root / "held_out.txt").write_text("".join(map(sentence.format, range(30))))
    return root


@pytest.mark.parametrize("command", COMMANDS)
def test_command_of_the_page_runs(
    command: str,
    place: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(place)
    monkeypatch.setattr(sys, "excepthook", sys.excepthook)  # put back afterwards
    monkeypatch.setattr(speed, "SpeedProcess", InThisProcess)
    for shown, instead in FEWER_ROUNDS.items():
        command = command.replace(shown, instead)
    program, *arguments = shlex.split(command)
    assert program == "tersor"
    assert run(arguments) == 0, capsys.readouterr().err


def test_python_of_the_page_runs(
    place: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(place)
    (code,) = PYTHON
    before = len(read_history(place / "small"))
    exec(compile(code, "docs/evaluate.md", "exec"), {})
    value, difference, p_value = map(float, capsys.readouterr().out.splitlines()[0].split())
    assert 0 <= value <= 100
    assert (difference, p_value) == (0, 1)  # packed: the same weights
    assert len(read_history(place / "small")) == before + 1


def test_task_of_the_page_is_yaml() -> None:
    (text,) = re.findall(r"```yaml\n(.*?)```", PAGE, re.DOTALL)
    assert yaml.safe_load(text)["task"] == "word_order"


def test_page_names_every_task() -> None:
    from tersor.evaluate import TASKS

    for task in TASKS:
        assert f"--task {task}" in PAGE
