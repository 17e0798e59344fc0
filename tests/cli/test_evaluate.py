"""`tersor evaluate` on tiny models: once as a command (it imports torch and transformers), else in this process."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from types import SimpleNamespace

import pytest
from transformers import AutoModelForSequenceClassification, AutoModelForTokenClassification

import tersor
from measuring import with_head
from models import tiny_bert, tiny_llama
from tersor.cli.app import run
from tersor.history import FILE_NAME

Run = Callable[..., subprocess.CompletedProcess[str]]
LABELS = ("O", "B-PER", "I-PER")


@pytest.fixture
def here(capsys: pytest.CaptureFixture[str]) -> Iterator[Callable[..., SimpleNamespace]]:
    """A function that runs `tersor ARGUMENTS` in this process."""
    hook = sys.excepthook

    def call(*arguments: str | Path) -> SimpleNamespace:
        code = run([str(argument) for argument in arguments])
        return SimpleNamespace(code=code, **capsys.readouterr()._asdict())

    yield call
    sys.excepthook = hook


@pytest.fixture(scope="module")
def ner(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return with_head(
        tiny_bert(tmp_path_factory.mktemp("ner") / "ner"), AutoModelForTokenClassification, LABELS
    )


def test_evaluate_compares_a_model_with_its_original(run_tersor: Run, tmp_path: Path) -> None:
    tiny_bert(tmp_path / "bert")
    (tmp_path / "text.txt").write_text("One sentence of at least eight words is enough here.\n" * 3)
    arguments = ["bert", "bert", "--task", "embedding", "--data", "text.txt", "--threads", "1", "--json"]
    done = run_tersor("evaluate", *arguments)
    assert done.returncode == 0, done.stderr
    original, same = json.loads(done.stdout)["models"]
    assert set(original) == {"path", "n_bytes", "metrics", "report", "details"}
    assert original["n_bytes"] == (tmp_path / "bert" / "model.safetensors").stat().st_size
    assert original == same
    keys = {"name", "value", "unit", "n", "stderr", "higher_is_better", "difference", "p_value"}
    assert all(keys <= set(metric) for metric in original["metrics"])
    assert abs(original["metrics"][0]["value"]) < 1e-6


def test_unknown_task_names_the_nearest_and_exits_with_2(here, tmp_path: Path) -> None:
    done = here("evaluate", tmp_path, "--task", "perplexty")
    assert done.code == 2
    assert "did you mean 'perplexity'" in done.err


def test_entities_are_recorded_and_shown_by_inspect(here, ner: Path, tmp_path: Path) -> None:
    data, small = tmp_path / "test.conll", tmp_path / "small"
    data.write_text("Ann B-PER\nLee I-PER\nsang O\n\nBo B-PER\n\n" * 5)
    tersor.pack(ner, small)
    done = here("evaluate", ner, small, "--task", "ner", "--data", data, "--record", "--seed", "3")
    assert done.code == 0, done.err
    assert done.out.splitlines()[0].split() == [str(ner), str(small)]
    assert "f1 [%], n=10, higher is better" in done.out
    assert "(+0 ± 0, p=1)" in done.out
    assert "tag (without O)" in done.out
    text = here("inspect", small).out
    assert f"history:\n1. evaluate ner on {data}: f1 " in text
    assert "(+0 from the original, p=1)" in text
    (entry,) = json.loads(here("inspect", small, "--json").out)["history"]
    assert (entry["kind"], entry["task"], entry["seed"], len(entry["models"])) == ("evaluate", "ner", 3, 2)


def test_options_reach_the_task(here, tmp_path: Path) -> None:
    llama = tiny_llama(tmp_path / "llama", layers=1)
    text = tmp_path / "text.txt"
    text.write_text("Some words to be predicted, again and again. " * 40)
    arguments = ["evaluate", llama, "--task", "perplexity", "--data", text, "--json"]
    plain = json.loads(here(*arguments).out)["models"][0]
    strided = json.loads(here(*arguments, "--stride", "64", "--limit", "5").out)["models"][0]
    assert plain["details"] == {"stride": 128, "window": 128}
    assert strided["details"] == {"stride": 64, "window": 128}
    assert strided["metrics"][0]["n"] == 5


def test_columns_of_a_table_are_named(here, tmp_path: Path) -> None:
    model = with_head(tiny_bert(tmp_path / "m", layers=1), AutoModelForSequenceClassification, ("neg", "pos"))
    table = tmp_path / "x.csv"
    table.write_text("a,b,stars\none,two,pos\nthree,four,neg\n")
    columns = ["--text-column", "a", "--text-column", "b", "--label-column", "stars"]
    done = here("evaluate", model, "--task", "classification", "--data", table, *columns)
    assert done.code == 0, done.err
    assert "mcc [%], n=2" in done.out


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("Ann B-PER\nLee PERSON\n", "x.conll, line 2: unknown tag 'PERSON'"),
        ("", "x.conll: the file is empty"),
        ("Ann\nLee\n", "x.conll, line 1: 'Ann' has no tag"),
        ("Ann NNP B-PER\nLee I-PER\n", "x.conll, line 2: 2 columns, the lines before have 3"),
        ("Ann B-PER\nRome B-LOC\n", "x.conll, line 2: tag 'B-LOC' is no label of the model"),
        ("Ann B-PER\nRome I-LOC\n", "x.conll, line 2: tag 'I-LOC' after 'B-PER' continues"),
    ],
)
def test_bad_data_is_one_error_with_exit_code_2_and_nothing_is_written(
    here, ner: Path, tmp_path: Path, content: str, message: str
) -> None:
    data, small = tmp_path / "x.conll", tmp_path / "small"
    data.write_text(content)
    tersor.pack(ner, small)
    done = here("evaluate", ner, small, "--task", "ner", "--data", data, "--record", "-q")
    assert (done.code, done.out) == (2, "")
    assert [line for line in done.err.splitlines() if line.startswith("error: ")] == [
        done.err.splitlines()[-1]
    ]
    assert message in done.err
    assert not (small / FILE_NAME).exists()


@pytest.mark.parametrize("value", ["", "0", "1,x", "1,,2", "-1"])
def test_lists_of_numbers_are_checked(here, tmp_path: Path, value: str) -> None:
    done = here("evaluate", tmp_path, "--task", "speed", "--lengths", value)
    assert done.code == 2
    assert "is no list of whole numbers of at least 1" in done.err
