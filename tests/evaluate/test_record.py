from __future__ import annotations

import json
import math
import shutil
from pathlib import Path

import pytest

import tersor
from tersor.errors import CorruptError, UsageError
from tersor.evaluate.record import append, plain
from tersor.evaluate.run import evaluate
from tersor.history import FILE_NAME, MAX_ENTRIES, entry, read_history, write_history


@pytest.fixture
def archive(folders: dict[str, Path], tmp_path: Path) -> Path:
    tersor.pack(folders["ner"], tmp_path / "packed")
    return tmp_path / "packed"


def test_figures_are_appended_to_the_archives_history(
    folders: dict[str, Path], archive: Path, ner_file: Path
) -> None:
    before = {path.name: path.read_bytes() for path in archive.iterdir()}
    result = evaluate([folders["ner"], archive], task="ner", data=ner_file, record=True, limit=20)
    (found,) = read_history(archive)
    assert found == json.loads(json.dumps({"kind": "evaluate", **result.to_json()}))
    after = {path.name: path.read_bytes() for path in archive.iterdir() if path.name != FILE_NAME}
    assert after == before
    evaluate([folders["ner"], archive], task="ner", data=ner_file, record=True, limit=10)
    assert len(read_history(archive)) == 2
    assert tersor.inspect(archive)["history"] == read_history(archive)
    assert tersor.verify(archive)["ok"]


def test_every_archive_gets_the_original_and_itself(
    folders: dict[str, Path], archive: Path, ner_file: Path, tmp_path: Path
) -> None:
    other = tmp_path / "other"
    shutil.copytree(archive, other)
    evaluate([folders["ner"], archive, other], task="ner", data=ner_file, record=True, limit=5)
    for folder in (archive, other):
        (found,) = read_history(folder)
        assert [model["path"] for model in found["models"]] == [str(folders["ner"]), str(folder)]
    assert not (folders["ner"] / FILE_NAME).exists()


def test_without_an_archive_there_is_nothing_to_add_to(folders: dict[str, Path], ner_file: Path) -> None:
    with pytest.raises(UsageError, match="none of the models is an archive"):
        evaluate(folders["ner"], task="ner", data=ner_file, record=True, limit=5)


def test_a_damaged_history_is_left_as_it_is(archive: Path) -> None:
    (archive / FILE_NAME).write_text("{")
    with pytest.raises(CorruptError, match="no JSON"):
        append(archive, entry("evaluate"))
    assert (archive / FILE_NAME).read_text() == "{"


def test_a_full_history_is_refused(archive: Path) -> None:
    write_history(archive, [entry("step")] * MAX_ENTRIES)
    with pytest.raises(UsageError, match=r"is full \(10,000 entries\)"):
        append(archive, entry("evaluate"))


def test_nothing_else_is_left_beside_the_history(archive: Path) -> None:
    names = {path.name for path in archive.iterdir()}
    append(archive, entry("evaluate"))
    assert {path.name for path in archive.iterdir()} == names | {FILE_NAME}


def test_numbers_that_json_lacks_become_null() -> None:
    assert plain({"a": (1, math.nan), "b": math.inf}) == {"a": [1, None], "b": None}
