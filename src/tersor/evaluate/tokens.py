"""Text to token ids: no padding, no truncation but the model's own limit."""

from __future__ import annotations

from os import PathLike
from typing import Any

import torch

from tersor.errors import UsageError

WINDOW = 512
MAX_WINDOWS = 64


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
    return int(limit) if limit else WINDOW


def encode(tokenizer: Any, text: str, limit: int | None = None) -> list[int]:
    """Token ids with the special tokens that the tokenizer adds; cut to `limit` tokens if one is given."""
    if limit is None:
        # verbose=False: long texts are meant to be longer than the model.
        return list(tokenizer(text, verbose=False)["input_ids"])
    limit = min(limit, tokenizer.model_max_length)
    return list(tokenizer(text, truncation=True, max_length=limit)["input_ids"])


def windows(tokenizer: Any, text: str, length: int, name: str) -> list[torch.Tensor]:
    """The text's first 64 non-overlapping windows of `length` tokens, each int64 (1, length).

    The text is tokenised once, with the special tokens that the tokenizer adds to a text (for Llama: <s> at the
    beginning of the first window only). The last window may be shorter, but has at least 2 tokens.
    Raises: UsageError if there are not 2 windows: no standard error could be given.
    """
    ids = encode(tokenizer, text)
    pieces = [ids[start : start + length] for start in range(0, len(ids), length)][:MAX_WINDOWS]
    found = [torch.tensor([piece]) for piece in pieces if len(piece) > 1]
    if len(found) < 2:
        raise UsageError(
            f"{name}: {len(ids)} tokens; needed: more than {length + 1}, two windows of up to {length}; "
            "use a longer text"
        )
    return found


def common_window(model: Any, reference: Any) -> int:
    """Window length for two models: 512, or less if one of them takes less."""
    return min(WINDOW, position_limit(model), position_limit(reference))
