"""Mistakes in folders that `datasets` saved; good ones are read in test_ner.py and test_classification.py."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import datasets
import pytest

from tersor.errors import MissingExtraError, UsageError
from tersor.tasks import find_splits, read_classification, read_ner


def saved(folder: Path, rows: dict[str, list[Any]]) -> Path:
    datasets.Dataset.from_dict(rows).save_to_disk(folder / "saved")
    return folder / "saved"


@pytest.mark.parametrize(
    ("rows", "message"),
    [
        ({"tokens": [["a"]], "tag": [["O"]]}, "no column 'ner_tags' or 'labels' or 'tags'; has"),
        ({"tokens": [["a"]], "ner_tags": [[0]]}, "row 1: tags are numbers without names"),
        ({"tokens": [["a"], ["b", "c"]], "ner_tags": [["O"], ["O"]]}, "row 2: 2 tokens but 1 tags"),
        ({"tokens": [["a"], ["b"]], "ner_tags": [["O"], ["PER"]]}, "row 2: unknown tag 'PER'"),
        ({"tokens": [["a"], []], "ner_tags": [["O"], []]}, "row 2: the sentence is empty"),
        ({"tokens": [], "ner_tags": []}, "`datasets` cannot load it"),
    ],
)
def test_a_mistake_is_one_error_with_its_row(
    tmp_path: Path, rows: dict[str, list[Any]], message: str
) -> None:
    with pytest.raises(UsageError, match=message):
        read_ner(saved(tmp_path, rows))


def test_label_without_a_name_is_refused(tmp_path: Path) -> None:
    features = datasets.Features(
        {"text": datasets.Value("string"), "label": datasets.ClassLabel(names=["a", "b"])}
    )
    rows = {"text": ["x", "y"], "label": [0, -1]}  # the test splits of GLUE
    datasets.Dataset.from_dict(rows, features=features).save_to_disk(tmp_path / "saved")
    with pytest.raises(UsageError, match="row 2: label number -1; the column has names for 0 to 1"):
        read_classification(tmp_path / "saved")


def test_a_single_data_set_has_no_splits(tmp_path: Path) -> None:
    assert find_splits(saved(tmp_path, {"tokens": [["a"]], "ner_tags": [["O"]]})) == {}


def test_damaged_folder_is_refused(tmp_path: Path) -> None:
    folder = saved(tmp_path, {"tokens": [["a"]], "ner_tags": [["O"]]})
    (folder / "state.json").write_text("{}")
    with pytest.raises(UsageError, match="`datasets` cannot load it"):
        read_ner(folder)


def test_without_datasets_the_error_says_what_to_install(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = saved(tmp_path, {"tokens": [["a"]], "ner_tags": [["O"]]})
    monkeypatch.setitem(sys.modules, "datasets", None)
    with pytest.raises(MissingExtraError, match=r"pip install 'tersor\[eval\]'"):
        read_ner(folder)
