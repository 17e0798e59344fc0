"""Models that are trained once and looked at by many tests."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch

from finetune_runs import QUICK, QUICK_TUNING, write_ner_data
from models import tiny_bert
from tersor.finetune import finetune

Outcome = tuple[Path, dict[str, Any]]


@pytest.fixture(autouse=True)
def _one_thread() -> None:
    torch.set_num_threads(1)


@pytest.fixture(scope="session")
def ner_data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_ner_data(tmp_path_factory.mktemp("ner-data"))


@pytest.fixture(scope="session")
def bert(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A BertModel of two layers, without a head."""
    return tiny_bert(tmp_path_factory.mktemp("bert") / "model")


@pytest.fixture(scope="session")
def tagger(bert: Path, ner_data: Path, tmp_path_factory: pytest.TempPathFactory) -> Outcome:
    """A plain checkpoint that tags, and what `finetune` said of it."""
    folder = tmp_path_factory.mktemp("tagger") / "out"
    return folder, finetune(bert, folder, task="ner", data=ner_data, settings=QUICK)


@pytest.fixture(scope="session")
def small_tagger(tagger: Outcome, ner_data: Path, tmp_path_factory: pytest.TempPathFactory) -> Outcome:
    """An archive of a fifth of the size: compressed and tuned."""
    folder = tmp_path_factory.mktemp("small-tagger") / "out"
    settings = {**QUICK, "epochs": 0, **QUICK_TUNING}
    return folder, finetune(tagger[0], folder, task="ner", data=ner_data, size="0.2x", settings=settings)
