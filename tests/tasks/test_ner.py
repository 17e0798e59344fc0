from __future__ import annotations

import json
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tersor.errors import UsageError
from tersor.tasks import NerData, read_ner

CONLL_2003 = """-DOCSTART- -X- O O

EU NNP I-NP I-ORG
rejects VBZ I-VP O
German JJ I-NP I-MISC
lamb NN I-NP O

Peter NNP I-NP I-PER
Blackburn NNP I-NP I-PER
"""


def write(folder: Path, text: str, name: str = "eng.testb") -> Path:
    path = folder / name
    path.write_bytes(text.encode())
    return path


def read(folder: Path, text: str, name: str = "eng.testb") -> NerData:
    return read_ner(write(folder, text, name))


def words_and_tags(data: NerData) -> list[tuple[tuple[str, ...], tuple[str, ...]]]:
    return [(sentence.words, sentence.tags) for sentence in data.sentences]


def test_columns_become_sentences_in_iob2(tmp_path: Path) -> None:
    data = read(tmp_path, CONLL_2003)
    assert words_and_tags(data) == [
        (("EU", "rejects", "German", "lamb"), ("B-ORG", "O", "B-MISC", "O")),
        (("Peter", "Blackburn"), ("B-PER", "I-PER")),
    ]
    assert data.scheme == "IOB1"
    assert data.labels == ("O", "B-MISC", "I-MISC", "B-ORG", "I-ORG", "B-PER", "I-PER")
    assert data.where(1, 1) == f"{tmp_path / 'eng.testb'}, line 9"
    assert data.name == str(tmp_path / "eng.testb")


@pytest.mark.parametrize("end", ["\n", "\r\n"])
@pytest.mark.parametrize("mark", ["", "\N{ZERO WIDTH NO-BREAK SPACE}"])
def test_tabs_line_ends_and_byte_order_marks_do_not_matter(tmp_path: Path, end: str, mark: str) -> None:
    text = mark + end.join(["New York\tB-LOC", "\N{NO-BREAK SPACE}\tO", "\t", "a\u2028b\tO", ""])
    assert words_and_tags(read(tmp_path, text)) == [
        (("New York", "\N{NO-BREAK SPACE}"), ("B-LOC", "O")),
        (("a\u2028b",), ("O",)),
    ]


def test_comments_before_a_sentence_are_left_out_and_a_number_sign_is_a_word(tmp_path: Path) -> None:
    text = "# id 17\tdomain=en\n# _ _ O\nfoo _ _ B-X\n\n# id 18 domain=en\nbar _ _ O\n"
    assert words_and_tags(read(tmp_path, text)) == [(("#", "foo"), ("O", "B-X")), (("bar",), ("O",))]


def test_jsonl_has_tokens_and_tags(tmp_path: Path) -> None:
    rows = [{"tokens": ["a", "b c"], "tags": ["B-X", "I-X"]}, {"words": ["d"], "ner_tags": ["S-Y"]}]
    text = "\n".join([json.dumps(rows[0]), "", json.dumps(rows[1])])
    data = read(tmp_path, text, "test.jsonl")
    assert words_and_tags(data) == [(("a", "b c"), ("B-X", "I-X")), (("d",), ("B-Y",))]
    assert data.scheme == "BIOES"
    assert data.where(1) == f"{tmp_path / 'test.jsonl'}, line 3"


def test_folder_of_splits_is_read_by_split(tmp_path: Path) -> None:
    write(tmp_path, "a O\n", "train.txt")
    write(tmp_path, "b O\n", "test.txt")
    assert read_ner(tmp_path, "test").sentences[0].words == ("b",)


def test_folders_that_datasets_saved_are_read(tmp_path: Path) -> None:
    import datasets

    names = datasets.ClassLabel(names=["O", "B-PER", "I-PER"])
    features = datasets.Features(
        {"tokens": datasets.List(datasets.Value("string")), "ner_tags": datasets.List(names)}
    )
    rows = {"tokens": [["Ann", "Lee"], ["x"]], "ner_tags": [[1, 2], [0]]}
    whole = datasets.DatasetDict({"validation": datasets.Dataset.from_dict(rows, features=features)})
    whole.save_to_disk(tmp_path / "saved")
    data = read_ner(tmp_path / "saved", "dev")
    assert words_and_tags(data) == [(("Ann", "Lee"), ("B-PER", "I-PER")), (("x",), ("O",))]
    assert data.where(1) == f"{tmp_path / 'saved' / 'validation'}, row 2"


word = st.text(
    st.characters(blacklist_categories=["Cs"], blacklist_characters="\n\r\t "), min_size=1, max_size=6
)
sentence = st.lists(st.tuples(word, st.sampled_from(["O", "B-X", "B-Y"])), min_size=1, max_size=5)


@given(st.lists(sentence, min_size=1, max_size=4))
def test_what_was_written_is_read(tmp_path_factory: pytest.TempPathFactory, sentences) -> None:
    folder = tmp_path_factory.getbasetemp()
    # A word before the first, so that neither a byte order mark, a comment nor -DOCSTART- can begin the line.
    lines = [
        "\n".join(["first\tO", *(f"{w}\t{tag}" for w, tag in rows if not w.startswith("-DOCSTART-"))])
        for rows in sentences
    ]
    data = read(folder, "\n\n".join(lines))
    expected = [(("first", *(w for w, _ in rows)), ("O", *(tag for _, tag in rows))) for rows in sentences]
    if not any(w.startswith("-DOCSTART-") for rows in sentences for w, _ in rows):
        assert words_and_tags(data) == expected


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "the file is empty"),
        ("\n \n", "the file is empty"),
        ("-DOCSTART- O\n\n", "no sentence in it"),
        ("a O\nb\n", "line 2: 'b' has no tag"),
        ("a\nb\n", "line 1: 'a' has no tag"),
        ("a NN O\nb O\n", "line 2: 2 columns, the lines before have 3"),
        ("a\tO\n\tO\n", "line 2: the word is empty"),
        ("a O\nb NN\n", "line 2: unknown tag 'NN'; needed: O, or B-"),
        ("a O\nb X-PER\n", "line 2: unknown tag 'X-PER'"),
        (
            "a B-PER\nb I-LOC\n\nc B-PER\nd I-LOC\n",
            r"line 2: tag 'I-LOC' after 'B-PER' .*\(2 such tags.*also at 5",
        ),
        ("a B-PER\n\nb B-PER\n\nc I-PER\n", "line 5: tag 'I-PER' after \"the sentence's beginning\""),
    ],
)
def test_a_mistake_in_columns_is_one_error_with_file_and_line(
    tmp_path: Path, text: str, message: str
) -> None:
    with pytest.raises(UsageError, match=message) as caught:
        read(tmp_path, text)
    assert str(tmp_path / "eng.testb") in str(caught.value)


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("{", "no JSON"),
        ("[" * 100_000, "no JSON"),
        ("[1]", "a JSON list; needed: an object"),
        ('{"token": ["a"]}', "no key 'tokens' or 'words'; did you mean 'token'"),
        ('{"tokens": ["a"]}', "no key 'tags' or"),
        ('{"tokens": [], "tags": []}', "the sentence is empty"),
        ('{"tokens": ["a", "b"], "tags": ["O"]}', "2 tokens but 1 tags"),
        ('{"tokens": ["a", ""], "tags": ["O", "O"]}', "token 2 is empty"),
        ('{"tokens": ["a"], "tags": [0]}', "tags are numbers without names"),
        ('{"tokens": "a", "tags": ["O"]}', "tokens are no list of strings"),
        ('{"tokens": ["a"], "tags": ["PER"]}', "unknown tag 'PER'"),
    ],
)
def test_a_mistake_in_jsonl_is_one_error_with_file_and_line(tmp_path: Path, line: str, message: str) -> None:
    good = '{"tokens": ["a"], "tags": ["O"]}'
    with pytest.raises(UsageError, match=message) as caught:
        read(tmp_path, f"{good}\n{line}\n", "test.jsonl")
    assert f"{tmp_path / 'test.jsonl'}, line 2: " in str(caught.value)


def test_bytes_that_are_no_text_are_one_error_with_the_line(tmp_path: Path) -> None:
    (tmp_path / "x.conll").write_bytes(b"a O\nb\xff O\n")
    with pytest.raises(UsageError, match=r"x\.conll, line 2: not UTF-8 text \(byte 5 of the file\)"):
        read_ner(tmp_path / "x.conll")


def test_label_that_the_model_lacks_is_named_with_its_place(tmp_path: Path) -> None:
    data = read(tmp_path, CONLL_2003)
    data.require_labels(data.labels, "the model bert/")
    with pytest.raises(
        UsageError, match=r"line 5: tag 'B-MISC' is no label of the model bert/.*it has B-ORG, B-PER"
    ):
        data.require_labels(("O", "B-ORG", "I-ORG", "B-PER", "I-PER"), "the model bert/")
