from __future__ import annotations

from pathlib import Path

import pytest
import torch

from tersor.errors import UsageError
from tersor.evaluate.tokens import MAX_WINDOWS, encode, load_tokenizer, position_limit, windows


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
    found = windows(tokenizer, "abcdefghij" * 5, 20, "text")
    assert [window.shape for window in found] == [(1, 20), (1, 20), (1, 11)]
    joined = torch.cat(found, dim=1)[0].tolist()
    assert joined == encode(tokenizer, "abcdefghij" * 5)
    assert joined.count(tokenizer.bos_token_id) == 1


def test_last_window_of_one_token_is_dropped(folders: dict[str, Path]) -> None:
    found = windows(load_tokenizer(folders["llama"]), "a" * 40, 20, "text")
    assert [window.shape[1] for window in found] == [20, 20]


def test_at_most_64_windows(folders: dict[str, Path]) -> None:
    assert len(windows(load_tokenizer(folders["llama"]), "a" * 1000, 4, "text")) == MAX_WINDOWS


def test_text_for_one_window_only_is_refused(folders: dict[str, Path]) -> None:
    with pytest.raises(UsageError, match=r"text: 11 tokens; needed: more than 21"):
        windows(load_tokenizer(folders["llama"]), "a" * 10, 20, "text")


def test_folder_without_tokenizer_is_refused(tmp_path: Path) -> None:
    (tmp_path / "config.json").write_text("{}")
    with pytest.raises(UsageError, match="no tokenizer"):
        load_tokenizer(tmp_path)


def test_position_limit_is_the_configs(llama, bert) -> None:
    assert (position_limit(llama), position_limit(bert)) == (128, 512)
