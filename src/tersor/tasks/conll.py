"""CoNLL column files: a word a line with its tag in the last column, an empty line after each sentence."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

from tersor.errors import UsageError
from tersor.tasks.schemes import is_tag
from tersor.tasks.text import read_lines

_SPACES = re.compile(r"[ \t]+")
_DOCUMENT_START = "-DOCSTART-"


@dataclass(frozen=True, slots=True)
class RawSentence:
    """Words and tags as the file has them, and the line (row) of each word."""

    words: list[str]
    tags: list[str]
    lines: list[int]


def read_conll(path: Path) -> list[RawSentence]:
    """The sentences of a column file; the first column is the word, the last one the tag.

    Columns are separated by tabs if the first line with words has one, else by spaces; every line has as many as the
    first. Lines that begin with -DOCSTART- and comments before a sentence ("# id ...") are left out.
    Raises: UsageError naming file and line.
    """
    sentences: list[RawSentence] = []
    current = RawSentence([], [], [])
    by_tabs = False
    n_columns = 0
    for number, line in enumerate(read_lines(path), start=1):
        text = line.strip(" \t")
        if not text or text.startswith(_DOCUMENT_START):
            current = _closed(current, sentences)
            continue
        if not n_columns:
            by_tabs = "\t" in text
        columns = line.rstrip(" ").split("\t") if by_tabs else _SPACES.split(text)
        if not current.words and text.startswith("#") and not is_tag(columns[-1]):
            continue
        n_columns = n_columns or len(columns)
        _check(columns, n_columns, f"{path}, line {number}")
        current.words.append(columns[0])
        current.tags.append(columns[-1])
        current.lines.append(number)
    _closed(current, sentences)
    if not sentences:
        raise UsageError(f"{path}: no sentence in it; needed: a word and its tag on each line")
    return sentences


def _closed(current: RawSentence, sentences: list[RawSentence]) -> RawSentence:
    """Keep a sentence that has words; a new one."""
    if not current.words:
        return current
    sentences.append(current)
    return RawSentence([], [], [])


def _check(columns: list[str], n_columns: int, place: str) -> None:
    if len(columns) == 1:
        raise UsageError(
            f"{place}: {columns[0]!r} has no tag; needed: a word and its tag, separated by a space or tab"
        )
    if len(columns) != n_columns:
        raise UsageError(
            f"{place}: {len(columns)} columns, the lines before have {n_columns}; mend the line, or end its sentence "
            "with an empty line if something is missing"
        )
    if not columns[0]:
        raise UsageError(f"{place}: the word is empty; needed: a word in the first column")
