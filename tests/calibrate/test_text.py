from __future__ import annotations

from pathlib import Path

import pytest
from transformers import AutoModel, AutoModelForCausalLM, AutoTokenizer

from models import tiny_bert, tiny_llama
from tersor.calibrate.text import (
    N_TOKENS,
    N_TOKENS_OF_DECODERS,
    CalibrationText,
    default_text,
    default_tokens,
    text_from_file,
    unused_tokens,
)
from tersor.errors import UsageError


@pytest.fixture(scope="module")
def bert(tmp_path_factory: pytest.TempPathFactory):
    folder = tiny_bert(tmp_path_factory.mktemp("bert"))
    return AutoModel.from_pretrained(folder), AutoTokenizer.from_pretrained(folder)


@pytest.fixture(scope="module")
def llama(tmp_path_factory: pytest.TempPathFactory):
    folder = tiny_llama(tmp_path_factory.mktemp("llama"))
    return AutoModelForCausalLM.from_pretrained(folder), AutoTokenizer.from_pretrained(folder)


def test_encoders_get_prose_and_zipf_sequences_framed(bert) -> None:
    model, tokenizer = bert
    text = default_text(tokenizer, model, 4000)
    assert 4000 <= text.n_tokens < 4600
    assert all(ids[0] == tokenizer.cls_token_id and len(ids) <= 256 for ids in text.sequences)
    assert text.sequences[-1][-1] == tokenizer.sep_token_id
    assert max(map(len, text.sequences)) > 32, "the tokenizer file's own truncation must not apply"


def test_decoders_write_their_own_text(llama) -> None:
    model, tokenizer = llama
    text = default_text(tokenizer, model, 1000)
    assert text.source == "built-in: sampled from the model"
    assert {len(ids) for ids in text.sequences} == {128}
    assert all(ids[0] == tokenizer.bos_token_id for ids in text.sequences)


@pytest.mark.parametrize("kind", ["bert", "llama"])
def test_seed_decides_the_text(kind: str, request: pytest.FixtureRequest) -> None:
    model, tokenizer = request.getfixturevalue(kind)
    first, again, other = (default_text(tokenizer, model, 600, seed).sha256 for seed in (0, 0, 1))
    assert first == again != other


def test_file_gives_sentences_or_windows(bert, llama, tmp_path: Path) -> None:
    path = tmp_path / "text.txt"
    path.write_text("One two three four five six seven eight nine ten. " * 40, encoding="utf-8")
    for model, tokenizer in (bert, llama):
        text = text_from_file(path, tokenizer, model, 500)
        assert 256 <= text.n_tokens < 800
        assert text.source == "file: text.txt"


@pytest.mark.parametrize(
    ("content", "message"), [(b" \n", "is empty"), (b"\xff\xfe\xff", "UTF-8"), (None, "No such file")]
)
def test_unusable_file_is_named(content: bytes | None, message: str, llama, tmp_path: Path) -> None:
    path = tmp_path / "text.txt"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(UsageError, match=message):
        text_from_file(path, llama[1], llama[0])


def test_unused_tokens_are_found_by_name(llama) -> None:
    assert unused_tokens(llama[1]) == (3, 4)


def test_decoders_read_fewer_tokens(bert, llama) -> None:
    assert default_tokens(bert[0]) == N_TOKENS
    assert default_tokens(llama[0]) == N_TOKENS_OF_DECODERS < N_TOKENS


@pytest.mark.parametrize("kind", ["bert", "llama"])
def test_tokens_of_the_whole_file_are_counted(
    kind: str, tmp_path: Path, request: pytest.FixtureRequest
) -> None:
    model, tokenizer = request.getfixturevalue(kind)
    path = tmp_path / "text.txt"
    path.write_text("the cat sat on the mat and looked at it.\n" * 400, encoding="utf-8")
    sample, whole = (text_from_file(path, tokenizer, model, n_tokens) for n_tokens in (200, 10**6))
    assert sample.n_tokens < 0.5 * whole.n_tokens
    assert sample.token_counts == whole.token_counts
    assert sample.sha256 != CalibrationText(sample.sequences, sample.source).sha256
    n_rows = len(tokenizer)
    assert sample.uses(n_rows).sum() >= whole.n_tokens


def test_sequences_left_out_are_not_counted() -> None:
    counts = ((1, 5), (2, 2), (3, 1))
    text = CalibrationText(((1, 1, 3), (1, 2)), "", counts)
    kept = text.keeping(((1, 2),))
    assert kept.sequences == ((1, 2),)
    assert kept.uses(5).tolist() == [0, 3, 2, 0, 0]
    assert text.uses(3).tolist() == [0, 5, 2], "ids beyond the vocabulary are left out"
    assert CalibrationText(((1, 1, 3),), "").uses(4).tolist() == [0, 2, 0, 1]
