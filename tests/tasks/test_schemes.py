from __future__ import annotations

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st
from seqeval.scheme import IOB2, IOBES, Entities

from tersor.tasks.schemes import broken_tags, detect_scheme, is_tag, labels_of, to_iob2

KINDS = ("PER", "LOC", "creative-work")
# A sentence as runs of words: an entity of a type, or None for words outside.
runs = st.lists(st.tuples(st.sampled_from([*KINDS, None]), st.integers(1, 3)), min_size=1, max_size=6)


def iob2(sentence: list[tuple[str | None, int]]) -> list[str]:
    tags = []
    for kind, n in sentence:
        tags += ["O"] * n if kind is None else [f"B-{kind}", *[f"I-{kind}"] * (n - 1)]
    return tags


def iob1(sentence: list[tuple[str | None, int]]) -> list[str]:
    tags: list[str] = []
    for kind, n in sentence:
        follows_own_kind = bool(tags) and kind is not None and tags[-1][2:] == kind
        tags += ["O"] * n if kind is None else [f"I-{kind}"] * n
        if follows_own_kind:
            tags[-n] = f"B-{kind}"
    return tags


def bioes(sentence: list[tuple[str | None, int]]) -> list[str]:
    tags = []
    for kind, n in sentence:
        if kind is None:
            tags += ["O"] * n
        elif n == 1:
            tags.append(f"S-{kind}")
        else:
            tags += [f"B-{kind}", *[f"I-{kind}"] * (n - 2), f"E-{kind}"]
    return tags


@given(st.lists(runs, min_size=1, max_size=5))
def test_every_scheme_is_told_apart_and_becomes_the_same_iob2(sentences) -> None:
    assume(any(kind is not None for sentence in sentences for kind, _ in sentence))
    expected = [iob2(sentence) for sentence in sentences]
    for name, write in (("IOB2", iob2), ("IOB1", iob1), ("BIOES", bioes)):
        written = [write(sentence) for sentence in sentences]
        assert detect_scheme(written) == name
        assert [to_iob2(tags, name) for tags in written] == expected
        assert not any(broken_tags(tags, name) for tags in written)


@given(st.lists(runs, min_size=1, max_size=5))
def test_seqeval_sees_the_same_entities_before_and_after(sentences) -> None:
    before = Entities([bioes(sentence) for sentence in sentences], IOBES).entities
    after = Entities([to_iob2(bioes(sentence), "BIOES") for sentence in sentences], IOB2).entities
    assert before == after


def test_bilou_is_bioes_with_other_letters() -> None:
    tags = ["B-PER", "I-PER", "L-PER", "O", "U-LOC"]
    assert detect_scheme([tags]) == "BIOES"
    assert to_iob2(tags, "BIOES") == ["B-PER", "I-PER", "I-PER", "O", "B-LOC"]


def test_a_file_without_entities_is_iob2() -> None:
    assert detect_scheme([["O", "O"], ["O"]]) == "IOB2"


def test_two_slips_do_not_make_an_iob1_file_iob2() -> None:
    """The train file of CoNLL-2003 has B- after O twice."""
    assert detect_scheme([["I-LOC", "O", "I-PER"], ["O", "B-MISC"]]) == "IOB1"


@pytest.mark.parametrize(
    ("tags", "scheme", "broken"),
    [
        (["O", "I-PER"], "IOB2", [1]),
        (["B-PER", "I-LOC"], "IOB2", [1]),
        (["B-PER", "I-PER"], "IOB2", []),
        (["S-PER", "I-PER"], "BIOES", [1]),
        (["B-PER", "E-PER", "E-PER"], "BIOES", [2]),
        (["O", "I-PER"], "IOB1", []),
    ],
)
def test_continuations_without_a_beginning_are_broken(tags, scheme, broken) -> None:
    assert broken_tags(tags, scheme) == broken


@pytest.mark.parametrize("text", ["O", "B-PER", "I-creative-work", "S-a", "U-x"])
def test_tags_are_known(text: str) -> None:
    assert is_tag(text)


@pytest.mark.parametrize("text", ["", "o", "PER", "B-", "X-PER", "B_PER", "B-a b", "NN"])
def test_other_words_are_no_tags(text: str) -> None:
    assert not is_tag(text)


def test_labels_have_both_tags_of_each_type_in_order() -> None:
    assert labels_of([["B-PER", "O"], ["B-LOC", "I-LOC"]]) == ("O", "B-LOC", "I-LOC", "B-PER", "I-PER")
    assert labels_of([["O"]]) == ("O",)
