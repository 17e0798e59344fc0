"""Text to token ids: no padding, no truncation but the model's own limit."""

from __future__ import annotations

import re
from dataclasses import dataclass
from os import PathLike
from typing import Any

import numpy as np
import torch

from tersor.errors import UsageError

WINDOW = 512
MAX_WINDOWS = 64
_WORD = re.compile(r"\S+")


def load_tokenizer(path: str | PathLike[str]) -> Any:
    """The folder's tokenizer, with the padding and truncation that its file may fix switched off.

    Raises: UsageError if the folder holds none.
    """
    from transformers import AutoTokenizer

    try:
        tokenizer = AutoTokenizer.from_pretrained(path, local_files_only=True)
    except (OSError, ValueError) as exc:
        raise UsageError(
            f"{path}: no tokenizer can be loaded ({exc}); needed: the tokenizer's files beside the original model"
        ) from exc
    backend = getattr(tokenizer, "backend_tokenizer", None)
    if backend is not None:
        backend.no_padding()
        backend.no_truncation()
    return tokenizer


def position_limit(model: Any) -> int:
    """The most tokens that the model takes at once (512 if its config does not say)."""
    limit = getattr(model.config.get_text_config(), "max_position_embeddings", None)
    return int(limit) - _unused_positions(model) if limit else WINDOW


def _unused_positions(model: Any) -> int:
    """How many of the first position embeddings never stand for a place: RoBERTa counts from its padding id + 1."""
    for name, module in model.named_modules():
        padding = getattr(module, "padding_idx", None)
        if name.endswith("position_embeddings") and padding is not None:
            return int(padding) + 1
    return 0


def encode(tokenizer: Any, text: str, limit: int | None = None) -> list[int]:
    """Token ids with the special tokens that the tokenizer adds; cut to `limit` tokens if one is given."""
    if limit is None:
        # verbose=False: long texts are meant to be longer than the model.
        return list(tokenizer(text, verbose=False)["input_ids"])
    limit = min(limit, tokenizer.model_max_length)
    return list(tokenizer(text, truncation=True, max_length=limit)["input_ids"])


@dataclass(frozen=True, slots=True)
class Window:
    """A run of a text's tokens. ids: int64 (1, length), length >= 2. n_scored: how many of the last tokens count,
    < length. n_words: words of the text that begin in them (in the first window: in all its tokens)."""

    ids: torch.Tensor
    n_scored: int
    n_words: int


def windows_of(
    tokenizer: Any, text: str, length: int, name: str, *, stride: int | None = None, limit: int = MAX_WINDOWS
) -> list[Window]:
    """The text's first `limit` windows of `length` tokens, each `stride` (None: `length`) after the one before.

    The text is tokenised once, with the special tokens that the tokenizer adds to a text (for Llama: <s> at the
    beginning of the first window only). A token counts in the first window that holds it and a token before it.
    The last window may be shorter.
    Raises: UsageError if there are not 2 windows (no standard error could be given), or stride > length.
    """
    step = length if stride is None else stride
    if step > length:
        raise UsageError(f"stride {step}: longer than a window of {length} tokens, tokens would be left out")
    ids, words_before = _ids_and_words(tokenizer, text)
    found: list[Window] = []
    end = 0
    for start in range(0, len(ids), step):
        previous_end, end = end, min(start + length, len(ids))
        if end - start < 2 or len(found) == limit:
            break
        n_scored = min(end - previous_end, end - start - 1)
        n_words = int(words_before[end] - words_before[previous_end])
        found.append(Window(torch.tensor([ids[start:end]]), n_scored, n_words))
        if end == len(ids):
            break
    if len(found) < 2:
        raise UsageError(
            f"{name}: {len(ids)} tokens; needed: more than {length + 1}, two windows of up to {length}; "
            "use a longer text"
        )
    return found


def _ids_and_words(tokenizer: Any, text: str) -> tuple[list[int], np.ndarray]:
    """Token ids of a text, and for each place between tokens how many words have begun: int64 (n + 1,)."""
    if not tokenizer.is_fast:
        ids = encode(tokenizer, text)
        # Without offsets words are spread evenly; exact over the whole text.
        return ids, np.rint(np.linspace(0, len(text.split()), len(ids) + 1)).astype(np.int64)
    encoding = tokenizer(text, verbose=False, return_offsets_mapping=True)
    ids = list(encoding["input_ids"])
    # Special tokens have the offsets (0, 0).
    starts = np.maximum.accumulate(
        np.array([begin for begin, _ in encoding["offset_mapping"]], dtype=np.int64)
    )
    word_starts = np.array([match.start() for match in _WORD.finditer(text)], dtype=np.int64)
    before = np.searchsorted(word_starts, starts, side="left")
    return ids, np.append(before, len(word_starts))
