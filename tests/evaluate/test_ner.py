from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch
from seqeval.metrics import f1_score
from seqeval.scheme import IOB2

from measuring import measured
from tersor.errors import UsageError
from tersor.evaluate import evaluate
from tersor.evaluate.ner import iob2_labels, predict, prepare
from tersor.evaluate.tokens import load_tokenizer
from tersor.load import load
from tersor.tasks import Aligner, read_ner


def ner_model(folder: Path):
    return load(folder, "AutoModelForTokenClassification")


def test_predictions_are_the_models_at_first_subwords(folders: dict[str, Path], ner_file: Path) -> None:
    model, tokenizer = ner_model(folders["ner"]), load_tokenizer(folders["ner"])
    sentences = read_ner(ner_file).sentences
    aligner = Aligner(tokenizer, 512)
    windows = [aligner(sentence.words) for sentence in sentences]
    found = predict(model, windows, [len(sentence.words) for sentence in sentences], 0)
    for sentence, tags in zip(sentences[:5], found, strict=False):
        (window,) = aligner(sentence.words)
        with torch.inference_mode():
            best = model(input_ids=torch.tensor([window.input_ids])).logits[0].argmax(-1)
        assert tags == [model.config.id2label[int(best[position])] for position, _ in window.predicts]


def test_figures_are_seqevals(folders: dict[str, Path], ner_file: Path) -> None:
    model, tokenizer = ner_model(folders["ner"]), load_tokenizer(folders["ner"])
    data = read_ner(ner_file)
    aligner = Aligner(tokenizer, 512)
    windows = [aligner(sentence.words) for sentence in data.sentences]
    predicted = predict(model, windows, [len(s.words) for s in data.sentences], 0)
    found = measured(prepare, model, model, tokenizer, data)
    true = [list(sentence.tags) for sentence in data.sentences]
    expected = 100 * f1_score(true, predicted, mode="strict", scheme=IOB2, zero_division=0)
    metrics = {figure.metric.name: figure.metric for figure in found.figures}
    assert list(metrics) == ["f1", "precision", "recall", "macro_f1", "f1_LOC", "f1_PER"]
    assert metrics["f1"].value == pytest.approx(expected)
    assert {metric.n for metric in metrics.values()} == {60}
    assert found.details["n_words"] == sum(len(tags) for tags in true)
    assert [row["type"] for row in found.details["entities"][-3:]] == [
        "micro avg",
        "macro avg",
        "weighted avg",
    ]
    assert "tag (without O)" in (found.report or "")
    json.dumps(found.details, allow_nan=False)


def test_sentences_longer_than_the_model_change_no_other(folders: dict[str, Path], ner_file: Path) -> None:
    """A sentence of 3,000 letters takes windows; each of its words still has one tag."""
    model, tokenizer = ner_model(folders["ner"]), load_tokenizer(folders["ner"])
    words = ["abcde"] * 500
    windows = [Aligner(tokenizer, 512)(words)]
    assert len(windows[0]) > 5
    (tags,) = predict(model, windows, [len(words)], 0)
    assert len(tags) == 500


def test_two_models_are_compared_on_the_same_sentences(folders: dict[str, Path], ner_file: Path) -> None:
    folder, other = folders["ner"], folders["ner_other"]
    result = evaluate([folder, other, folder], task="ner", data=ner_file)
    original, different, same = result.models
    assert original.figures[0].difference is None
    for figure in same.figures:
        assert figure.difference is not None
        assert (figure.difference.value, figure.difference.p_value) == (0, 1)
    changed = different.figures[0].difference
    assert changed is not None
    assert changed.value == pytest.approx(different.metrics[0].value - original.metrics[0].value)
    assert 0 < changed.p_value <= 1
    assert result == evaluate([folder, other, folder], task="ner", data=ner_file)
    assert "p: approximate randomisation" in result.table()
    assert str(other) + "\n" in result.table()


def test_limit_takes_the_first_sentences(folders: dict[str, Path], ner_file: Path) -> None:
    result = evaluate(folders["ner"], task="ner", data=ner_file, limit=10)
    assert {metric.n for metric in result.models[0].metrics} == {10}


def test_test_split_of_a_folder_is_the_default(
    folders: dict[str, Path], ner_file: Path, tmp_path: Path
) -> None:
    (tmp_path / "train.conll").write_text("a B-UNKNOWN\n")
    (tmp_path / "test.conll").write_text(ner_file.read_text())
    result = evaluate(folders["ner"], task="ner", data=tmp_path)
    assert result.data == str(tmp_path / "test.conll")
    with pytest.raises(UsageError, match=r"train\.conll, line 1: tag 'B-UNKNOWN' is no label of the model"):
        evaluate(folders["ner"], task="ner", data=tmp_path, split="train")


def test_models_of_other_schemes_predict_iob2(folders: dict[str, Path]) -> None:
    model = ner_model(folders["ner"])
    model.config.id2label = dict(enumerate(["O", "S-LOC", "B-LOC", "E-LOC", "I-LOC"]))
    assert iob2_labels(model) == ["O", "B-LOC", "B-LOC", "I-LOC", "I-LOC"]


def test_labels_that_are_no_tags_are_refused(folders: dict[str, Path]) -> None:
    model = ner_model(folders["ner"])
    model.config.id2label = {i: f"LABEL_{i}" for i in range(5)}
    with pytest.raises(UsageError, match=r"label 'LABEL_0' of its config\.json is no tag"):
        iob2_labels(model)


def test_model_without_a_head_is_refused(folders: dict[str, Path], ner_file: Path) -> None:
    with pytest.raises(UsageError, match="no weights for classifier"):
        evaluate(folders["bert"], task="ner", data=ner_file)


def test_data_is_needed_and_read_before_a_model_is_loaded(folders: dict[str, Path], tmp_path: Path) -> None:
    def loader(path, auto_class):
        raise AssertionError("loaded")

    with pytest.raises(UsageError, match="task ner needs data with tags"):
        evaluate(folders["ner"], task="ner", loader=loader)
    (tmp_path / "bad.conll").write_text("a O\nb\n")
    with pytest.raises(UsageError, match=r"bad\.conll, line 2: 'b' has no tag"):
        evaluate(folders["ner"], task="ner", data=tmp_path / "bad.conll", loader=loader)
