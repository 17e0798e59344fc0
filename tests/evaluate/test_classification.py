from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from sklearn.metrics import f1_score, matthews_corrcoef

from tersor.errors import UsageError
from tersor.evaluate import evaluate
from tersor.evaluate.classification import classes_of, count, matthews
from tersor.evaluate.precision_recall import f1, macro, present_in
from tersor.evaluate.tokens import load_tokenizer
from tersor.load import load

labels = st.lists(st.tuples(st.integers(0, 3), st.integers(0, 3)), min_size=1, max_size=30)


@pytest.mark.filterwarnings("ignore::UserWarning")
@given(labels)
def test_figures_are_scikit_learns(pairs) -> None:
    true, predicted = np.array(pairs).T
    rows = count(true, predicted, 4)
    sums = rows.sum(0)
    assert float(matthews(sums)) == pytest.approx(100 * matthews_corrcoef(true, predicted), abs=1e-9)
    present = present_in(classes_of(sums))
    ours = float(macro(f1, classes_of(sums), present))
    assert ours == pytest.approx(100 * f1_score(true, predicted, average="macro", zero_division=0))
    assert rows[:, 0].sum() == (true == predicted).sum()


def test_predictions_are_the_models(folders: dict[str, Path], class_file: Path) -> None:
    folder = folders["classes"]
    result = evaluate(folder, task="classification", data=class_file)
    model, tokenizer = load(folder, "AutoModelForSequenceClassification"), load_tokenizer(folder)
    rows = [json.loads(line) for line in class_file.read_text().splitlines()]
    n_right = 0
    for row in rows:
        with torch.inference_mode():
            best = int(model(**tokenizer(row["text"], return_tensors="pt")).logits.argmax())
        n_right += model.config.id2label[best] == row["label"]
    accuracy, macro_f1, mcc = result.models[0].metrics
    assert (accuracy.name, macro_f1.name, mcc.name) == ("accuracy", "macro_f1", "mcc")
    assert accuracy.value == pytest.approx(100 * n_right / len(rows))
    details = result.models[0].details
    assert (details["n_texts"], details["n_cut"]) == (40, 0)
    assert {row["class"] for row in details["classes"]} <= {
        "neg",
        "neutral",
        "pos",
        "macro avg",
        "weighted avg",
    }


def test_accuracy_has_mcnemars_test(folders: dict[str, Path], class_file: Path) -> None:
    result = evaluate([folders["classes"]] * 2, task="classification", data=class_file)
    found = [figure.difference for figure in result.models[1].figures]
    assert [d.test for d in found if d is not None] == ["exact McNemar", *["approximate randomisation"] * 2]
    assert all(d is not None and d.p_value == 1 for d in found)


def test_labels_are_matched_by_name_or_number(folders: dict[str, Path], tmp_path: Path) -> None:
    by_name, by_number = tmp_path / "name.csv", tmp_path / "number.csv"
    by_name.write_text("text,label\n" + "a,Pos\nb,NEG\n" * 3)
    by_number.write_text("text,label\n" + "a,2\nb,0\n" * 3)
    first, second = (
        evaluate(folders["classes"], task="classification", data=f) for f in (by_name, by_number)
    )
    assert first.models[0].metrics == second.models[0].metrics


def test_pairs_and_long_texts(folders: dict[str, Path], tmp_path: Path) -> None:
    rows = [
        {"premise": "a" * 600, "hypothesis": "b", "label": "pos"},
        {"premise": "a", "hypothesis": "b", "label": 1},
    ]
    (tmp_path / "x.jsonl").write_text("\n".join(map(json.dumps, rows)))
    (model,) = evaluate(folders["classes"], task="classification", data=tmp_path / "x.jsonl").models
    assert model.details["n_cut"] == 1
    assert "1 texts were longer than the model takes and cut" in (model.report or "")


def test_label_that_the_model_lacks_is_named_with_its_place(folders: dict[str, Path], tmp_path: Path) -> None:
    (tmp_path / "x.csv").write_text("text,label\na,pos\nb,positive\n")
    with pytest.raises(
        UsageError, match=r"x\.csv, line 3: label 'positive' is no class of the model.*neg, neutral, pos"
    ):
        evaluate(folders["classes"], task="classification", data=tmp_path / "x.csv")
    with pytest.raises(UsageError, match="task classification needs labelled texts"):
        evaluate(folders["classes"], task="classification")
