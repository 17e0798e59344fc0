"""The text that models are measured on: the user's file, or what CPython's documentation holds."""

from __future__ import annotations

import random
from dataclasses import dataclass
from os import PathLike
from pathlib import Path

from tersor.corpus import evaluation_sentences, evaluation_text, sentences_of
from tersor.errors import UsageError


@dataclass(frozen=True, slots=True)
class EvaluationData:
    """name: where the text is from, for people. sentences: in the text's order, each 8..60 words."""

    name: str
    text: str
    sentences: tuple[str, ...]

    def sample(self, n: int, seed: int) -> list[str]:
        """`n` sentences, or all if there are fewer, chosen by `seed`."""
        shuffled = list(self.sentences)
        random.Random(seed).shuffle(shuffled)
        return shuffled[:n]


def built_in_data() -> EvaluationData:
    """The half of `pydoc_data.topics` that calibration does not see."""
    return EvaluationData(
        "built-in (pydoc_data.topics, odd)", evaluation_text(), tuple(evaluation_sentences(seed=None))
    )


def read_data(path: str | PathLike[str] | None) -> EvaluationData:
    """The text of a UTF-8 file, or the built-in text for None.

    Raises: UsageError if there is no such file, it is not UTF-8 text, or it is empty.
    """
    if path is None:
        return built_in_data()
    file = Path(path)
    if not file.is_file():
        raise UsageError(f"data {file}: no such file; needed: a UTF-8 text file, or none for built-in text")
    try:
        text = file.read_text(encoding="utf-8")
    except UnicodeDecodeError as exc:
        raise UsageError(f"data {file}: not UTF-8 text (byte {exc.start}); convert it to UTF-8") from exc
    if not text.strip():
        raise UsageError(f"data {file}: the file is empty; needed: text to measure on")
    return EvaluationData(str(path), text, tuple(sentences_of(text)))
