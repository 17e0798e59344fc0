"""Files of a task become labelled sequences: every word once, splits found or held out."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from transformers import AutoTokenizer

from finetune_runs import SPLITS
from tersor.errors import UnknownNameError, UsageError
from tersor.finetune.data import read_classification_task, read_language_task, read_ner_task, task_of
from tersor.finetune.features import IGNORED, Feature
from tersor.finetune.metrics import measure_classification, measure_ner
from tersor.finetune.settings import Settings

SHORT = Settings(max_length=12, stride=4)


@pytest.fixture(scope="module")
def tokenizer(bert: Path) -> object:
    return AutoTokenizer.from_pretrained(bert)


def test_splits_are_found_by_their_names(ner_data: Path, tokenizer: object) -> None:
    data = read_ner_task(ner_data, tokenizer, Settings(), None, "")
    sizes = [len(features) for features in (data.train, data.dev, data.test or ())]
    assert sizes == list(SPLITS.values())
    assert data.labels == ("O", "B-LOC", "I-LOC", "B-PER", "I-PER")
    assert len(data.sentences) == SPLITS["train"]


def test_a_file_alone_is_split(ner_data: Path, tokenizer: object) -> None:
    data = read_ner_task(ner_data / "train.conll", tokenizer, Settings(), None, "")
    assert data.test is None
    assert len(data.train) + len(data.dev) == SPLITS["train"]
    assert len(data.dev) == SPLITS["train"] // 10


def test_windows_of_long_sentences_label_every_word_once(tmp_path: Path, tokenizer: object) -> None:
    words = [f"w{i}" for i in range(40)]
    (tmp_path / "train.conll").write_text("".join(f"{word} B-X\n" for word in words))
    data = read_ner_task(tmp_path / "train.conll", tokenizer, SHORT, None, "")
    assert len(data.train) > 1
    labelled = [word for feature in data.train for word in feature.words]
    assert sorted(labelled) == list(range(40))
    assert sum(label != IGNORED for feature in data.train for label in feature.labels) == 40
    assert max(map(len, data.train)) <= 12


def test_predictions_of_windows_are_put_together_by_word() -> None:
    labels = ("O", "B-X", "I-X")
    features = [Feature((1, 2), (1, IGNORED), 0, (0,)), Feature((1, 2), (IGNORED, 2), 0, (1,))]
    rows = np.eye(3)[[1, 2]]
    assert measure_ner(labels, rows, features)["f1"] == 1.0
    assert measure_ner(labels, np.eye(3)[[1, 0]], features)["f1"] == 0.0


def test_a_tag_that_the_model_lacks_is_named_with_its_line(ner_data: Path, tokenizer: object) -> None:
    with pytest.raises(
        UsageError, match=r"train\.conll, line \d+: tag 'B-(LOC|PER)' is no label of the model x"
    ):
        read_ner_task(ner_data, tokenizer, Settings(), ("O", "B-ORG"), "the model x")


def test_a_models_labels_keep_their_order(ner_data: Path, tokenizer: object) -> None:
    known = ("B-PER", "I-PER", "O", "B-LOC", "I-LOC")
    assert read_ner_task(ner_data, tokenizer, Settings(), known, "").labels == known


def test_a_folder_without_training_data_is_refused(tmp_path: Path, tokenizer: object) -> None:
    (tmp_path / "dev.conll").write_text("a O\n")
    with pytest.raises(UsageError, match="no training split here, only dev"):
        read_ner_task(tmp_path, tokenizer, Settings(), None, "")


def test_texts_get_the_number_of_their_class(tmp_path: Path, tokenizer: object) -> None:
    (tmp_path / "train.csv").write_text("text,label\nab,down\ncd,up\nef,down\n")
    data = read_classification_task(tmp_path / "train.csv", tokenizer, SHORT, None, "")
    assert data.labels == ("down", "up")
    assert [feature.labels for feature in data.train] == [(0,), (1,), (0,)]


def test_an_unknown_class_is_named_with_its_line(tmp_path: Path, tokenizer: object) -> None:
    (tmp_path / "train.csv").write_text("text,label\nab,down\ncd,upp\n")
    with pytest.raises(
        UsageError, match=r"line 3: label 'upp' is no class of the model x; did you mean 'up'"
    ):
        read_classification_task(tmp_path / "train.csv", tokenizer, SHORT, ("down", "up"), "the model x")


def test_text_becomes_windows_that_are_their_own_labels(tmp_path: Path, tokenizer: object) -> None:
    (tmp_path / "train.txt").write_text("abcdefghij" * 30)
    data = read_language_task(tmp_path / "train.txt", tokenizer, SHORT, None, "")
    assert all(feature.input_ids == feature.labels for feature in data.train)
    assert max(map(len, data.train)) == 12
    assert not data.greater_is_better


def test_accuracy_and_the_mean_f1_of_classes() -> None:
    features = [Feature((1,), (label,)) for label in (0, 0, 1, 1)]
    found = measure_classification(("a", "b"), np.eye(2)[[0, 1, 1, 1]], features)
    assert found["accuracy"] == 0.75
    assert found["macro_f1"] == pytest.approx((2 / 3 + 4 / 5) / 2)


def test_an_unknown_task_names_the_nearest() -> None:
    with pytest.raises(UsageError, match=r"no task 'nre' to train for; did you mean 'ner'\?") as caught:
        task_of("nre")
    assert not isinstance(caught.value, UnknownNameError)
