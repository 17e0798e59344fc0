from __future__ import annotations

import json
from pathlib import Path

import pytest

from tersor.errors import UsageError
from tersor.tasks import ClassificationData, read_classification


def read(folder: Path, text: str, name: str = "test.csv", **options) -> ClassificationData:
    (folder / name).write_bytes(text.encode())
    return read_classification(folder / name, **options)


def test_csv_has_quoted_texts_over_several_lines(tmp_path: Path) -> None:
    data = read(tmp_path, 'text,label\n"one, ""two""\nthree",pos\n\nfour,neg\n')
    assert data.texts == ('one, "two"\nthree', "four")
    assert data.labels == ("pos", "neg")
    assert data.label_names == ("neg", "pos")
    assert data.seconds is None
    assert [data.where(i) for i in range(2)] == [f"{tmp_path / 'test.csv'}, line {n}" for n in (2, 5)]


def test_tsv_takes_quotation_marks_as_they_are(tmp_path: Path) -> None:
    data = read(tmp_path, 'sentence\tlabel\n"half a quote\t1\nother\t0\n', "test.tsv")
    assert data.texts == ('"half a quote', "other")
    assert data.label_names == ("0", "1")


def test_jsonl_and_pairs(tmp_path: Path) -> None:
    rows = [{"premise": "a", "hypothesis": "b", "label": 10}, {"premise": "c", "hypothesis": "d", "label": 2}]
    data = read(tmp_path, "\n".join(map(json.dumps, rows)), "test.jsonl")
    assert (data.texts, data.seconds) == (("a", "c"), ("b", "d"))
    assert data.labels == ("10", "2")
    assert data.label_names == ("2", "10")  # numbers in their own order


def test_columns_are_chosen_by_name(tmp_path: Path) -> None:
    text = "stars,review,text\n5,good,x\n"
    data = read(tmp_path, text, text_column="review", label_column="stars")
    assert (data.texts, data.labels) == (("good",), ("5",))
    pairs = read(tmp_path, text, text_column=("review", "text"), label_column="stars")
    assert pairs.seconds == ("x",)


def test_folders_that_datasets_saved_keep_their_label_names(tmp_path: Path) -> None:
    import datasets

    features = datasets.Features(
        {"text": datasets.Value("string"), "label": datasets.ClassLabel(names=["neg", "pos"])}
    )
    rows = datasets.Dataset.from_dict({"text": ["a", "b"], "label": [1, 1]}, features=features)
    rows.save_to_disk(tmp_path / "saved")
    data = read_classification(tmp_path / "saved")
    assert (data.labels, data.label_names) == (("pos", "pos"), ("neg", "pos"))
    assert data.where(1).endswith("row 2")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "the file is empty"),
        ("text,label\n", "no rows after the header"),
        ("text,label\na,b,c\n", "line 2: 3 columns, the header has 2"),
        ("text,label\na\n", "line 2: 1 columns, the header has 2"),
        ("text,label\n,x\n", "line 2: column 'text' is empty"),
        ("text,label\na,\n", "line 2: column 'label' holds ''"),
        ('text,label\n"a,b\n', "line 2: broken row"),
        ("foo,label\na,b\n", "no column of text; looked for text, sentence"),
        ("text,foo\na,b\n", "no column of labels; looked for label, labels"),
    ],
)
def test_a_mistake_in_a_table_is_one_error_with_file_and_line(
    tmp_path: Path, text: str, message: str
) -> None:
    with pytest.raises(UsageError, match=message) as caught:
        read(tmp_path, text)
    assert str(tmp_path / "test.csv") in str(caught.value)


@pytest.mark.parametrize(
    ("row", "message"),
    [
        ({"text": 3, "label": 1}, "column 'text' is a int"),
        ({"label": 1}, "column 'text' is empty"),
        ({"text": "a", "label": True}, "column 'label' holds True"),
        ({"text": "a", "label": None}, "column 'label' holds None"),
    ],
)
def test_a_mistake_in_jsonl_is_one_error_with_file_and_line(tmp_path: Path, row, message: str) -> None:
    good = json.dumps({"text": "a", "label": 1})
    with pytest.raises(UsageError, match=message) as caught:
        read(tmp_path, f"{good}\n{json.dumps(row)}\n", "test.jsonl")
    assert f"{tmp_path / 'test.jsonl'}, line 2: " in str(caught.value)


def test_unknown_columns_are_refused(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="no column 'stars'; has"):
        read(tmp_path, "text,label\na,b\n", label_column="stars")
    with pytest.raises(UsageError, match="3 columns of text; needed: one, or two"):
        read(tmp_path, "text,label\na,b\n", text_column=("a", "b", "c"))
