from __future__ import annotations

from pathlib import Path

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from transformers import PreTrainedTokenizerFast, RobertaConfig, RobertaModel

from models import byte_tokenizer
from tersor.errors import UsageError
from tersor.evaluate.tokens import MAX_WINDOWS, encode, load_tokenizer, position_limit, windows_of


def test_padding_and_truncation_of_the_file_are_switched_off(folders: dict[str, Path]) -> None:
    tokenizer = load_tokenizer(folders["bert"])  # its tokenizer.json fixes both at 32
    assert len(encode(tokenizer, "a" * 100)) == 102
    assert len(encode(tokenizer, "a")) == 3


def test_limit_cuts_the_text_but_keeps_special_tokens(folders: dict[str, Path]) -> None:
    tokenizer = load_tokenizer(folders["bert"])
    cut = encode(tokenizer, "a" * 100, limit=10)
    assert len(cut) == 10
    assert (cut[0], cut[-1]) == (tokenizer.cls_token_id, tokenizer.sep_token_id)
    assert len(encode(tokenizer, "a" * 100)) == 102


def test_windows_are_the_text_in_order_with_one_bos(folders: dict[str, Path]) -> None:
    tokenizer = load_tokenizer(folders["llama"])
    found = windows_of(tokenizer, "abcdefghij" * 5, 20, "text")
    assert [window.ids.shape for window in found] == [(1, 20), (1, 20), (1, 11)]
    joined = torch.cat([window.ids for window in found], dim=1)[0].tolist()
    assert joined == encode(tokenizer, "abcdefghij" * 5)
    assert joined.count(tokenizer.bos_token_id) == 1


def test_last_window_of_one_token_is_dropped(folders: dict[str, Path]) -> None:
    found = windows_of(load_tokenizer(folders["llama"]), "a" * 40, 20, "text")
    assert [window.ids.shape[1] for window in found] == [20, 20]


def test_at_most_64_windows_of(folders: dict[str, Path]) -> None:
    assert len(windows_of(load_tokenizer(folders["llama"]), "a" * 1000, 4, "text")) == MAX_WINDOWS


def test_text_for_one_window_only_is_refused(folders: dict[str, Path]) -> None:
    with pytest.raises(UsageError, match=r"text: 11 tokens; needed: more than 21"):
        windows_of(load_tokenizer(folders["llama"]), "a" * 10, 20, "text")


def test_folder_without_tokenizer_is_refused(tmp_path: Path) -> None:
    (tmp_path / "config.json").write_text("{}")
    with pytest.raises(UsageError, match="no tokenizer"):
        load_tokenizer(tmp_path)


def test_position_limit_is_the_configs(llama, bert) -> None:
    assert (position_limit(llama), position_limit(bert)) == (128, 512)


def test_roberta_counts_positions_from_its_padding_on() -> None:
    config = RobertaConfig(
        vocab_size=9,
        hidden_size=8,
        num_hidden_layers=1,
        num_attention_heads=1,
        max_position_embeddings=20,
        pad_token_id=1,
    )
    model = RobertaModel(config).eval()
    assert position_limit(model) == 18
    model(input_ids=torch.full((1, 18), 4))
    with pytest.raises((IndexError, RuntimeError)):
        model(input_ids=torch.full((1, 19), 4))


@given(st.integers(3, 20), st.floats(0.01, 1), st.text("ab \n", min_size=60, max_size=90))
def test_windows_count_every_token_and_word_once(length: int, share: float, text: str) -> None:
    stride = max(1, int(share * length))
    tokenizer = PreTrainedTokenizerFast(tokenizer_object=byte_tokenizer([]))
    found = windows_of(tokenizer, text, length, "text", stride=stride, limit=1000)
    n_tokens = len(text.encode())
    if stride < length:
        assert sum(window.n_scored for window in found) == n_tokens - 1
        assert all(window.n_scored <= stride for window in found[1:])
    assert sum(window.n_words for window in found) == len(text.split())


def test_stride_that_leaves_tokens_out_is_refused(folders: dict[str, Path]) -> None:
    with pytest.raises(UsageError, match="stride 21: longer than a window of 20 tokens"):
        windows_of(load_tokenizer(folders["llama"]), "a" * 100, 20, "text", stride=21)
