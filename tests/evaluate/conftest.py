from __future__ import annotations

from pathlib import Path

import pytest

from models import tiny_bert, tiny_gpt2, tiny_llama
from tersor.evaluate.data import EvaluationData, built_in_data
from tersor.load import load


@pytest.fixture(scope="session")
def folders(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    root = tmp_path_factory.mktemp("models")
    return {
        "bert": tiny_bert(root / "bert"),
        "llama": tiny_llama(root / "llama"),
        "gpt2": tiny_gpt2(root / "gpt2"),
    }


@pytest.fixture(scope="session")
def prose() -> EvaluationData:
    """A short text, so that tiny models are measured in a moment."""
    whole = built_in_data()
    return EvaluationData("prose", whole.text[:2000], whole.sentences[:20])


@pytest.fixture
def llama(folders: dict[str, Path]):
    return load(folders["llama"])


@pytest.fixture
def bert(folders: dict[str, Path]):
    return load(folders["bert"])
