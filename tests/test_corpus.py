from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tersor.corpus import (
    MAX_WORDS,
    MIN_WORDS,
    calibration_sentences,
    calibration_text,
    evaluation_sentences,
    evaluation_text,
    sentences_of,
    zipf_sequences,
)
from tersor.errors import UsageError


def test_calibration_and_evaluation_share_no_sentence() -> None:
    calibration, evaluation = calibration_sentences(), evaluation_sentences()
    assert len(calibration) > 500
    assert len(evaluation) > 300
    assert not set(calibration) & set(evaluation)


def test_calibration_and_evaluation_texts_share_no_paragraph() -> None:
    def paragraphs(text: str) -> set[str]:
        return {" ".join(paragraph.split()) for paragraph in text.split("\n\n")} - {""}

    assert not paragraphs(calibration_text()) & paragraphs(evaluation_text())


@pytest.mark.parametrize("sentences", [calibration_sentences, evaluation_sentences])
def test_built_in_sentences_are_unique_and_of_the_stated_length(sentences) -> None:
    found = sentences()
    assert len(set(found)) == len(found)
    assert all(MIN_WORDS <= len(sentence.split()) <= MAX_WORDS for sentence in found)


def test_seed_changes_only_the_order() -> None:
    assert calibration_sentences(0) == calibration_sentences(0)
    assert calibration_sentences(0) != calibration_sentences(1)
    assert sorted(calibration_sentences(0)) == sorted(calibration_sentences(None))


def test_line_of_several_sentences_is_split() -> None:
    first = "This is the first sentence and it has enough words."
    second = "That is the second sentence which has enough words too."
    assert sentences_of(f"{first} {second}") == [first, second]


def test_heading_and_short_sentence_are_left_out() -> None:
    assert sentences_of("= A heading with more than eight words in it here =\nToo short.") == []


def test_wrapped_paragraph_is_joined_and_unwrapped_is_not() -> None:
    text = "one two three four five\nsix seven eight nine ten.\n\nanother"
    assert sentences_of(text, wrapped=True) == ["one two three four five six seven eight nine ten."]
    assert sentences_of(text) == []


def test_tokenised_spelling_is_undone() -> None:
    text = "the well @-@ known <unk> man 's dog , which ( as said ) barked at 1 @,@ 000 cats ."
    assert sentences_of(text) == ["the well-known man's dog, which (as said) barked at 1,000 cats."]


@given(
    vocab_size=st.integers(1, 500),
    n_tokens=st.integers(0, 300),
    length=st.integers(1, 50),
    seed=st.integers(0, 2**32 - 1),
    special=st.sets(st.integers(0, 600), max_size=5),
)
def test_zipf_sequences_have_the_stated_shape_and_no_special_token(
    vocab_size: int, n_tokens: int, length: int, seed: int, special: set[int]
) -> None:
    if set(range(vocab_size)) <= special:
        with pytest.raises(UsageError, match="none to draw"):
            zipf_sequences(vocab_size, n_tokens, length, seed, special)
        return
    tokens = zipf_sequences(vocab_size, n_tokens, length, seed, special)
    assert tokens.shape == (-(-n_tokens // length), length)
    assert tokens.dtype == np.int64
    assert not np.isin(tokens, list(special)).any()
    assert ((tokens >= 0) & (tokens < vocab_size)).all()


def test_zipf_frequencies_follow_one_over_rank_plus_200() -> None:
    counts = np.bincount(zipf_sequences(1000, 400_000, 100).ravel(), minlength=1000)
    weights = 1 / (np.arange(1000) + 200)
    expected = counts.sum() * weights / weights.sum()
    assert np.abs(counts - expected).max() < 6 * np.sqrt(expected.max())


def test_zipf_sequences_are_the_same_for_ever() -> None:
    assert zipf_sequences(30522, 6, 6, seed=0).tolist() == [[2966, 7118, 3954, 2904, 1485, 4962]]
