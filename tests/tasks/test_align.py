from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tokenizers import Tokenizer, models, pre_tokenizers
from transformers import AutoTokenizer, PreTrainedTokenizerFast

from models import tiny_bert, tiny_llama
from tersor.errors import UsageError
from tersor.tasks import Aligner, align

words = st.lists(st.text("abc \N{ZERO WIDTH SPACE}ß", min_size=1, max_size=9), min_size=1, max_size=12)


@pytest.fixture(scope="module")
def bert(tmp_path_factory: pytest.TempPathFactory) -> PreTrainedTokenizerFast:
    """Single bytes, [CLS] and [SEP]; its file fixes padding and truncation at 32."""
    return AutoTokenizer.from_pretrained(tiny_bert(tmp_path_factory.mktemp("bert"), layers=1))


@pytest.fixture(scope="module")
def llama(tmp_path_factory: pytest.TempPathFactory) -> PreTrainedTokenizerFast:
    return AutoTokenizer.from_pretrained(tiny_llama(tmp_path_factory.mktemp("llama"), layers=1))


@given(words=words, max_length=st.integers(4, 40), share=st.floats(0, 0.9))
def test_every_word_is_predicted_once_and_no_token_is_lost(bert, words, max_length, share) -> None:
    stride = int(share * (max_length - 3))
    aligner = Aligner(bert, max_length, stride)
    windows = aligner(words)
    assert sorted(word for window in windows for _, word in window.predicts) == list(range(len(words)))
    whole = Aligner(bert, 100_000)(words)
    assert len(whole) == 1
    pieces = whole[0].input_ids[1:-1]
    step = aligner.capacity - stride
    seen: list[int] = []
    for number, window in enumerate(windows):
        assert len(window.input_ids) == len(window.word_ids) <= max_length
        assert (window.input_ids[0], window.input_ids[-1]) == (bert.cls_token_id, bert.sep_token_id)
        assert (window.word_ids[0], window.word_ids[-1]) == (None, None)
        inner = window.input_ids[1:-1]
        assert inner == pieces[number * step : number * step + len(inner)]
        seen = [*seen[: number * step], *inner]
        for position, word in window.predicts:
            assert window.word_ids[position] == word
            assert window.word_ids[position - 1] != word or position == 1
    assert tuple(seen) == pieces


def test_a_word_is_predicted_where_most_of_its_surroundings_are_seen(bert) -> None:
    # Each word but the first is two sub-words, a space and a letter: windows begin at 0, 4, 8, ... of 31 and hold 10.
    windows = Aligner(bert, max_length=12, stride=6)(list("abcdefghijklmnop"))
    found = [[word for _, word in window.predicts] for window in windows]
    assert found == [[0, 1, 2, 3], [4, 5], [6, 7], [8, 9], [10, 11], [12, 13], [14, 15]]


def test_a_word_longer_than_a_window_is_predicted_once(bert) -> None:
    windows = align(bert, ["a", "b" * 50, "c"], 12, 4)
    assert len(windows) > 5
    assert sorted(word for window in windows for _, word in window.predicts) == [0, 1, 2]


def test_the_tokenizer_is_left_as_it_was(bert) -> None:
    before = bert.backend_tokenizer.to_str()
    align(bert, ["a"] * 100, 12)
    assert bert.backend_tokenizer.to_str() == before
    assert bert.backend_tokenizer.truncation is not None


def test_special_tokens_are_the_tokenizers_own(llama) -> None:
    (window,) = align(llama, ["ab", "c"], 12)
    assert window.word_ids == (None, 0, 0, 1, 1)  # <s> a b, then a space of its own and c
    assert window.input_ids[0] == llama.bos_token_id


def test_words_are_spelled_as_in_running_text(bert, llama) -> None:
    for tokenizer in (bert, llama):
        (window,) = align(tokenizer, ["ab", "c"], 100)
        assert list(window.input_ids) == tokenizer("ab c", padding=False)["input_ids"]


@pytest.mark.parametrize("scheme", ["always", "first", "never"])
def test_words_of_sentencepiece_are_spelled_as_in_running_text(scheme: str) -> None:
    vocab = {piece: i for i, piece in enumerate(["<unk>", "▁", "a", "b", "▁a", "▁b"])}
    backend = Tokenizer(models.BPE(vocab, [("▁", "a"), ("▁", "b")], unk_token="<unk>"))
    backend.pre_tokenizer = pre_tokenizers.Metaspace(prepend_scheme=scheme)
    tokenizer = PreTrainedTokenizerFast(tokenizer_object=backend, unk_token="<unk>")
    (window,) = align(tokenizer, ["ab", "a", "ba"], 100)
    assert list(window.input_ids) == tokenizer("ab a ba")["input_ids"]
    assert [word for _, word in window.predicts] == [0, 1, 2]


def test_word_that_the_tokenizer_drops_is_its_unknown_token() -> None:
    backend = Tokenizer(models.WordLevel({"[UNK]": 0, "a": 1}, unk_token="[UNK]"))
    backend.pre_tokenizer = pre_tokenizers.Whitespace()
    tokenizer = PreTrainedTokenizerFast(tokenizer_object=backend, unk_token="[UNK]")
    (window,) = align(tokenizer, ["a", " ", "a"], 9)
    assert window.input_ids == (1, 0, 1)
    assert [word for _, word in window.predicts] == [0, 1, 2]


def test_window_without_room_is_refused(bert) -> None:
    with pytest.raises(UsageError, match="windows of 5 tokens hold 3 besides special ones, 3 of them shared"):
        Aligner(bert, 5, 3)


def test_slow_tokenizer_is_refused() -> None:
    with pytest.raises(UsageError, match="needed: a fast tokenizer"):
        Aligner(object(), 5)


def test_import_is_light(tmp_path: Path) -> None:
    import subprocess
    import sys

    code = "import sys, tersor.tasks; print(*{name.split('.')[0] for name in sys.modules})"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert not {"torch", "transformers", "datasets", "tokenizers"} & set(done.stdout.split())
