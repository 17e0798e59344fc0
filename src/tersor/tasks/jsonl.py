"""JSONL: one object a line."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from tersor.errors import UsageError
from tersor.registry import did_you_mean
from tersor.tasks.conll import RawSentence
from tersor.tasks.text import read_lines

SUFFIXES = (".jsonl", ".ndjson", ".json")
WORD_KEYS = ("tokens", "words")
TAG_KEYS = ("tags", "ner_tags", "labels")


def read_objects(path: Path) -> Iterator[tuple[int, dict[str, Any]]]:
    """Line number and object of every line that is not empty. Raises: UsageError naming file and line."""
    for number, line in enumerate(read_lines(path), start=1):
        if not line.strip():
            continue
        try:
            value = json.loads(line)
        except (ValueError, RecursionError) as exc:
            raise UsageError(f"{path}, line {number}: no JSON ({exc}); needed: one object a line") from exc
        if not isinstance(value, dict):
            raise UsageError(
                f"{path}, line {number}: a JSON {type(value).__name__}; needed: an object, {{...}}"
            )
        yield number, value


def read_jsonl(path: Path) -> list[RawSentence]:
    """Sentences of a file with `{"tokens": [...], "tags": [...]}` a line ("words", "ner_tags", "labels" will do).

    Raises: UsageError naming file and line.
    """
    return [_sentence(value, f"{path}, line {number}", number) for number, value in read_objects(path)]


def _sentence(value: dict[str, Any], place: str, number: int) -> RawSentence:
    words = strings(_field(value, WORD_KEYS, place), "tokens", place)
    tags = strings(_field(value, TAG_KEYS, place), "tags", place)
    return checked_sentence(words, tags, place, number)


def checked_sentence(words: list[str], tags: list[str], place: str, number: int) -> RawSentence:
    """One sentence whose words are all on one line. Raises: UsageError if it is empty or has gaps."""
    if not words:
        raise UsageError(f"{place}: the sentence is empty; remove it, or give it words")
    if len(words) != len(tags):
        raise UsageError(f"{place}: {len(words)} tokens but {len(tags)} tags; needed: one tag for each token")
    if "" in words:
        raise UsageError(f"{place}: token {words.index('') + 1} is empty; needed: text in each token")
    return RawSentence(words, tags, [number] * len(words))


def strings(value: object, what: str, place: str) -> list[str]:
    """`value` if it is a list of strings. Raises: UsageError."""
    if not isinstance(value, list) or not all(isinstance(item, str) for item in value):
        numbers = isinstance(value, list) and all(isinstance(item, int) for item in value)
        hint = (
            'numbers without names; write the tags out, such as "B-PER"' if numbers else "no list of strings"
        )
        raise UsageError(f"{place}: {what} are {hint}")
    return value


def _field(value: dict[str, Any], keys: tuple[str, ...], place: str) -> object:
    for key in keys:
        if key in value:
            return value[key]
    near = did_you_mean(keys[0], [str(key) for key in value])
    raise UsageError(
        f"{place}: no key {' or '.join(map(repr, keys))}{near.rstrip('.')}; has {sorted(value)[:10]}"
    )
