"""Perplexity of models on separate stories, each after a <s>.

Use: python benchmarks/story_perplexity.py STORIES MODEL [ARCHIVE ...]      prints {"PATH": perplexity, ...}
STORIES: a text whose stories are separated by <|endoftext|>. Used by quality.py.
"""

from __future__ import annotations

import json
import math
import sys
from pathlib import Path

import torch

import tersor
from tersor.evaluate.perplexity import window_loss
from tersor.evaluate.tokens import load_tokenizer

SEPARATOR = "<|endoftext|>"


def story_tokens(path: Path, tokenizer_folder: str) -> list[torch.Tensor]:
    """Token ids of each story, int64 (1, length), beginning with the tokenizer's start token."""
    tokenizer = load_tokenizer(tokenizer_folder)
    stories = [story.strip() for story in path.read_text(encoding="utf-8").split(SEPARATOR)]
    return [torch.tensor([_framed(tokenizer, story)]) for story in stories if story]


def _framed(tokenizer: object, story: str) -> list[int]:
    ids = list(tokenizer(story, add_special_tokens=False)["input_ids"])  # type: ignore[operator]
    return [int(tokenizer.bos_token_id), *ids]  # type: ignore[attr-defined]


def perplexity(model: torch.nn.Module, stories: list[torch.Tensor]) -> float:
    """exp of the mean loss over all tokens but the start tokens."""
    loss = sum(window_loss(model, story) for story in stories)
    return math.exp(loss / sum(story.shape[1] - 1 for story in stories))


def main(text: str, *models: str) -> None:
    torch.set_num_threads(1)
    stories = story_tokens(Path(text), models[0])
    print(json.dumps({path: perplexity(tersor.load(path), stories) for path in models}))


if __name__ == "__main__":
    main(*sys.argv[1:])
