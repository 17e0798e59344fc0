"""The text that models are measured on: the user's file, or what CPython's documentation holds."""

from __future__ import annotations

import random
from dataclasses import dataclass
from os import PathLike

from tersor.corpus import evaluation_sentences, evaluation_text, sentences_of
from tersor.evaluate.options import Options
from tersor.tasks.splits import data_file
from tersor.tasks.text import read_text


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


def read_data(path: str | PathLike[str] | None, split: str | None = None) -> EvaluationData:
    """The text of a UTF-8 file (of a folder: of one split), or the built-in text for None.

    Raises: UsageError if there is no such file, it is not UTF-8 text, or it is empty.
    """
    if path is None:
        return built_in_data()
    file = data_file(path, split)
    text = read_text(file)
    return EvaluationData(str(file), text, tuple(sentences_of(text)))


def text_reader(path: str | PathLike[str] | None, options: Options) -> EvaluationData:
    """`Task.read` of tasks on running text."""
    return read_data(path, options.split)
