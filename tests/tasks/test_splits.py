from __future__ import annotations

from pathlib import Path

import pytest

from tersor.errors import UsageError
from tersor.tasks import find_splits
from tersor.tasks.splits import data_file


def touch(folder: Path, *names: str) -> Path:
    for name in names:
        (folder / name).write_text("a O\n")
    return folder


@pytest.mark.parametrize(
    "names",
    [
        {"train": "eng.train", "dev": "eng.testa", "test": "eng.testb"},
        {"train": "wnut17train.conll", "dev": "emerging.dev.conll", "test": "emerging.test.annotated"},
        {"train": "train.txt", "dev": "valid.txt", "test": "test.txt"},
        {"train": "train-00000-of-00001.jsonl", "dev": "validation.jsonl", "test": "test.jsonl"},
        {"train": "de_training.conll", "dev": "DEV.conll"},
        {"test": "only_test.tsv"},
    ],
)
def test_splits_are_found_by_their_usual_names(tmp_path: Path, names: dict[str, str]) -> None:
    touch(tmp_path, *names.values(), "README.md", "test.py", ".train.txt", "notes.txt")
    assert {split: path.name for split, path in find_splits(tmp_path).items()} == names


def test_a_file_has_no_splits_and_is_itself(tmp_path: Path) -> None:
    touch(tmp_path, "train.txt")
    assert find_splits(tmp_path / "train.txt") == {}
    assert data_file(tmp_path / "train.txt", "test") == tmp_path / "train.txt"


def test_one_split_is_found_without_saying_which(tmp_path: Path) -> None:
    touch(tmp_path, "dev.txt")
    assert data_file(tmp_path, None) == tmp_path / "dev.txt"


def test_two_files_for_one_split_are_refused(tmp_path: Path) -> None:
    touch(tmp_path, "wiki.test.raw", "wiki.test.tokens")
    with pytest.raises(
        UsageError, match=r"wiki\.test\.raw and wiki\.test\.tokens both look like the test split"
    ):
        find_splits(tmp_path)


@pytest.mark.parametrize(
    ("split", "message"),
    [
        ("test", "no test split here, only train, dev"),
        (None, "say which one is meant"),
        ("eval", "unknown split 'eval'"),
    ],
)
def test_what_is_not_there_is_refused(tmp_path: Path, split: str | None, message: str) -> None:
    touch(tmp_path, "train.txt", "dev.txt")
    with pytest.raises(UsageError, match=message):
        data_file(tmp_path, split)


def test_folder_without_names_of_splits_is_refused(tmp_path: Path) -> None:
    touch(tmp_path, "data.txt")
    with pytest.raises(UsageError, match="no file here is named like a split"):
        data_file(tmp_path, None)


def test_missing_path_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="no such file or folder"):
        find_splits(tmp_path / "none")
