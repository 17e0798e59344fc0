"""The verb: what it prints, and what mistakes look like from outside."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from types import SimpleNamespace

import pytest

from finetune_runs import write_ner_data
from models import tiny_bert
from tersor.cli import verb_finetune
from tersor.cli.app import run
from tersor.finetune.data import TASKS
from tersor.finetune.settings import MODES, TRACKERS

QUICK = ("--set", "max_steps=2", "--set", "batch_size=8", "--threads", "1", "-q")


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
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tiny_bert(tmp_path_factory.mktemp("bert") / "bert", layers=1)


@pytest.fixture
def data(tmp_path: Path) -> Path:
    (tmp_path / "data").mkdir()
    return write_ner_data(tmp_path / "data")


def test_the_verbs_words_are_those_of_the_package() -> None:
    assert tuple(TASKS) == verb_finetune.TASKS
    assert MODES == verb_finetune.MODES
    assert set(TRACKERS) == set(verb_finetune.TRACKERS)


def test_finetune_trains_and_prints_one_object(here, model: Path, data: Path, tmp_path: Path) -> None:
    done = here("finetune", model, "-o", tmp_path / "out", "--task", "ner", "--data", data, "--json", *QUICK)
    assert done.code == 0, done.err
    result = json.loads(done.out)
    keys = {"input", "output", "task", "labels", "stages", "metrics", "seed", "seconds", "peak_rss_bytes"}
    assert keys <= set(result)
    assert result["output"]["n_bytes"] == (tmp_path / "out" / "model.safetensors").stat().st_size
    assert {row["split"] for row in result["metrics"]} == {"dev", "test"}


def test_the_table_has_the_metrics_of_every_stage(here, model: Path, data: Path, tmp_path: Path) -> None:
    arguments = ("--task", "ner", "--data", data, "--size", "0.3x", "--set", "tune.max_steps=2", *QUICK)
    done = here("finetune", model, "-o", tmp_path / "out", *arguments)
    assert done.code == 0, done.err
    header = next(line for line in done.out.splitlines() if line.startswith("metric"))
    assert header.split() == ["metric", "task", "compress", "tune"]
    assert "test f1" in done.out


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("AB B-PER\nfg X-Y\n", "train.conll, line 2: unknown tag 'X-Y'"),
        ("", "train.conll: the file is empty"),
        ("AB B-PER\nfg\n", "train.conll, line 2"),
        ("AB x B-PER\nfg O\n", "train.conll, line 2"),
    ],
)
def test_a_mistake_in_the_data_is_one_error_and_nothing_is_written(
    here, model: Path, tmp_path: Path, text: str, message: str
) -> None:
    data = tmp_path / "train.conll"
    data.write_text(text)
    done = here("finetune", model, "-o", tmp_path / "out", "--task", "ner", "--data", data)
    assert done.code == 2
    assert done.err.count("\n") == 1
    assert message in done.err
    assert [path.name for path in tmp_path.iterdir()] == ["train.conll"]


def test_a_setting_that_is_unknown_exits_with_2(here, model: Path, data: Path, tmp_path: Path) -> None:
    done = here(
        "finetune", model, "-o", tmp_path / "out", "--task", "ner", "--data", data, "--set", "epoch=3"
    )
    assert (done.code, "did you mean 'epochs'" in done.err) == (2, True)
