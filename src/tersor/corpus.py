"""Text and token sequences for calibrating and measuring when the user brings none.

The text is CPython's own `pydoc_data.topics` (about 465 KB of English prose, part of the standard
library, so nothing is downloaded). Sorted by name, the topics of even index are for calibration and those of
odd index for evaluation. Topics quote each other, so a sentence that calibration may see is removed from
evaluation: the two sets share no sentence.
"""

from __future__ import annotations

import random
import re
from collections.abc import Iterable

import numpy as np

from tersor.errors import UsageError

MIN_WORDS = 8
MAX_WORDS = 60

_PARAGRAPH_BREAK = re.compile(r"\n\s*\n")
_SENTENCE_BREAK = re.compile(r"(?<=[a-z0-9)]\.) (?=[A-Z])|(?<= [.?!]) (?=[A-Z\"])")
_SPLIT_HYPHEN = re.compile(r" @(.)@ ")
# WikiText and its kin are stored tokenised; models were trained on plain spelling.
_DETOKENISED = {" <unk>": "", " 's": "'s", " ,": ",", " .": ".", "( ": "(", " )": ")"}
# Zipf-Mandelbrot offset: rank r has weight 1 / (r + 200). Vocabularies are roughly ordered by frequency.
_ZIPF_OFFSET = 200


def sentences_of(text: str, *, wrapped: bool = False) -> list[str]:
    """The sentences of `text` that have 8..60 words, in order, in plain spelling.

    wrapped: False: a line holds whole sentences (WikiText, one story a line). True: lines are wrapped, and an
        empty line ends a paragraph (documentation).
    Lines that start with "=" (WikiText's headings) are left out; tokenised spelling (" ,", " @-@ ") is undone.
    """
    paragraphs = _PARAGRAPH_BREAK.split(text) if wrapped else text.split("\n")
    sentences = []
    for paragraph in paragraphs:
        line = " ".join(paragraph.split()) if wrapped else paragraph.strip()
        if line.startswith("="):
            continue
        pieces = (_detokenise(piece.strip()) for piece in _SENTENCE_BREAK.split(line))
        sentences += [piece for piece in pieces if MIN_WORDS <= len(piece.split()) <= MAX_WORDS]
    return sentences


def calibration_sentences(seed: int | None = 0) -> list[str]:
    """Sentences of the even topics, each once, shuffled by `seed` (None: in the topics' order)."""
    return _shuffled(_topic_sentences(0), seed)


def evaluation_sentences(seed: int | None = 0) -> list[str]:
    """Sentences of the odd topics that no even topic holds, each once, shuffled by `seed` (None: in order)."""
    seen = set(_topic_sentences(0))
    return _shuffled([sentence for sentence in _topic_sentences(1) if sentence not in seen], seed)


def calibration_text() -> str:
    """The even topics as running text, for language models."""
    return "\n\n".join(_topics(0))


def evaluation_text() -> str:
    """The odd topics as running text without the paragraphs that the even ones hold too."""
    seen = {_squeeze(paragraph) for paragraph in _paragraphs(0)}
    return "\n\n".join(paragraph for paragraph in _paragraphs(1) if _squeeze(paragraph) not in seen)


def zipf_sequences(
    vocab_size: int, n_tokens: int, length: int, seed: int = 0, special: Iterable[int] = ()
) -> np.ndarray:
    """Random token ids drawn by Zipf's law over the vocabulary: int64 (ceil(n_tokens / length), length).

    vocab_size, length: >= 1. special: ids that are never drawn (padding, masks, ...).
    Token i has weight 1 / (i + 200). Equal arguments give equal sequences in every version of numpy.
    Raises: UsageError if no id is left to draw.
    """
    weights = 1.0 / (np.arange(vocab_size, dtype=np.float64) + _ZIPF_OFFSET)
    weights[[token for token in special if 0 <= token < vocab_size]] = 0.0
    if not weights.any():
        raise UsageError(f"zipf_sequences: all {vocab_size} ids of the vocabulary are special, none to draw")
    n_sequences = -(-n_tokens // length)
    # RandomState, not Generator: its stream is frozen for ever.
    uniform = np.random.RandomState(seed).random_sample((n_sequences, length))
    cumulative = np.cumsum(weights)
    tokens = np.searchsorted(cumulative, uniform * cumulative[-1], side="right")
    # uniform < 1, but the product may round up to the end: fall back to the last id that may be drawn.
    last = np.flatnonzero(weights)[-1]
    sequences: np.ndarray = np.minimum(tokens, last).astype(np.int64)
    return sequences


def _topics(parity: int) -> list[str]:
    from pydoc_data.topics import topics

    return [topics[name] for name in sorted(topics)[parity::2]]


def _topic_sentences(parity: int) -> list[str]:
    """Sentences of every second topic, each once, in order."""
    found = [sentence for topic in _topics(parity) for sentence in sentences_of(topic, wrapped=True)]
    return list(dict.fromkeys(found))


def _paragraphs(parity: int) -> list[str]:
    found = [paragraph for topic in _topics(parity) for paragraph in _PARAGRAPH_BREAK.split(topic)]
    return list(dict.fromkeys(found))


def _squeeze(paragraph: str) -> str:
    return " ".join(paragraph.split())


def _shuffled(items: list[str], seed: int | None) -> list[str]:
    if seed is not None:
        random.Random(seed).shuffle(items)
    return items


def _detokenise(sentence: str) -> str:
    sentence = _SPLIT_HYPHEN.sub(r"\1", sentence)
    for tokenised, plain in _DETOKENISED.items():
        sentence = sentence.replace(tokenised, plain)
    return sentence
