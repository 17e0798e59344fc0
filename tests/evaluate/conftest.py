from __future__ import annotations

import json
from pathlib import Path

import pytest
from transformers import AutoModelForSequenceClassification, AutoModelForTokenClassification

from measuring import with_head
from models import tiny_bert, tiny_gpt2, tiny_llama
from tersor.evaluate.data import EvaluationData, built_in_data
from tersor.load import load

NER_LABELS = ("O", "B-LOC", "I-LOC", "B-PER", "I-PER")


@pytest.fixture(scope="session")
def folders(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    root = tmp_path_factory.mktemp("models")
    return {
        "bert": tiny_bert(root / "bert"),
        "llama": tiny_llama(root / "llama"),
        "gpt2": tiny_gpt2(root / "gpt2"),
        "ner": with_head(tiny_bert(root / "ner"), AutoModelForTokenClassification, NER_LABELS),
        "ner_other": with_head(
            tiny_bert(root / "ner2", seed=3), AutoModelForTokenClassification, NER_LABELS, 4
        ),
        "classes": with_head(
            tiny_bert(root / "classes"), AutoModelForSequenceClassification, ("neg", "neutral", "pos")
        ),
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


@pytest.fixture(scope="session")
def ner_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Sixty sentences in CoNLL columns, some longer than a window of the tiny model."""
    names = ["Ann Lee", "Bo", "Cy Young"]
    lines = []
    for number in range(60):
        person = names[number % 3].split()
        lines += [f"{word} {'B' if i == 0 else 'I'}-PER" for i, word in enumerate(person)]
        lines += ["went O", "to O", f"Rome{number} B-LOC", *["far O"] * (number // 4), ""]
    path = tmp_path_factory.mktemp("ner") / "test.conll"
    path.write_text("\n".join(lines))
    return path


@pytest.fixture(scope="session")
def class_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Forty texts of three classes as JSONL."""
    names = ("neg", "neutral", "pos")
    rows = [{"text": f"text number {n} says {names[n % 3]}", "label": names[(n * 7) % 3]} for n in range(40)]
    path = tmp_path_factory.mktemp("classes") / "test.jsonl"
    path.write_text("\n".join(map(json.dumps, rows)))
    return path
