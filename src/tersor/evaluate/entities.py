"""Named entities, counted sentence by sentence: strict entities by seqeval, and every tag by itself.

One row of counts for each sentence, so that every figure is a function of their sums (`Layout`), a bootstrap draws
sentences, and a test swaps them.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np
from seqeval.metrics.sequence_labeling import get_entities
from seqeval.scheme import IOB2, Entities

Tags = Sequence[Sequence[str]]
# Of a class: right, predicted, true.
_COUNTS = 3


@dataclass(frozen=True, slots=True)
class Layout:
    """Which column of the counts is what: three for each type, three for lenient entities, three for each tag, then
    right words and words."""

    kinds: tuple[str, ...]
    tags: tuple[str, ...]

    @property
    def lenient(self) -> int:
        return _COUNTS * len(self.kinds)

    @property
    def first_tag(self) -> int:
        return self.lenient + _COUNTS

    @property
    def right_words(self) -> int:
        return self.first_tag + _COUNTS * len(self.tags)

    @property
    def width(self) -> int:
        return self.right_words + 2

    def of_kinds(self, sums: np.ndarray) -> np.ndarray:
        """Right, predicted and true entities of every type: (..., types, 3)."""
        return sums[..., : self.lenient].reshape(*sums.shape[:-1], len(self.kinds), _COUNTS)

    def of_lenient(self, sums: np.ndarray) -> np.ndarray:
        """Right, predicted and true entities as conlleval cuts them: (..., 3)."""
        return sums[..., self.lenient : self.first_tag]

    def of_tags(self, sums: np.ndarray) -> np.ndarray:
        """Right, predicted and true words of every tag but O: (..., tags, 3)."""
        return sums[..., self.first_tag : self.right_words].reshape(*sums.shape[:-1], len(self.tags), _COUNTS)


def layout_of(labels: Iterable[str]) -> Layout:
    """The layout for a set of IOB2 labels, types in their order of appearance."""
    tags = tuple(label for label in labels if label != "O")
    return Layout(tuple(dict.fromkeys(tag[2:] for tag in tags)), tags)


def count(true: Tags, predicted: Tags, layout: Layout) -> np.ndarray:
    """The counts of every sentence, float64 (sentences, layout.width).

    true, predicted: IOB2 tags of the same words; every type and tag is one of the layout's.
    Entities are strict: seqeval's mode="strict" with IOB2, where an I- that no B- of its type begins is no entity.
    Lenient ones are seqeval's default, which are conlleval's: there it begins one.
    """
    rows = np.zeros((len(true), layout.width))
    strict_true, strict_predicted = _strict(true), _strict(predicted)
    for number, row in enumerate(rows):
        _count_kinds(layout.of_kinds(row), strict_true[number], strict_predicted[number], layout.kinds)
        its_true, its_predicted = list(true[number]), list(predicted[number])
        lenient_true, lenient = set(get_entities(its_true)), set(get_entities(its_predicted))
        layout.of_lenient(row)[:] = len(lenient_true & lenient), len(lenient), len(lenient_true)
        _count_tags(layout.of_tags(row), its_true, its_predicted, layout.tags)
        n_right = sum(a == b for a, b in zip(its_true, its_predicted, strict=True))
        row[layout.right_words :] = n_right, len(its_true)
    return rows


def _strict(tags: Tags) -> list[set[tuple[int, int, str]]]:
    """Start, end and type of the entities of each sentence."""
    found = Entities([list(sentence) for sentence in tags], IOB2).entities
    return [{(entity.start, entity.end, entity.tag) for entity in sentence} for sentence in found]


def _count_kinds(
    counts: np.ndarray,
    true: set[tuple[int, int, str]],
    predicted: set[tuple[int, int, str]],
    kinds: tuple[str, ...],
) -> None:
    for column, entities in enumerate((true & predicted, predicted, true)):
        for _, _, kind in entities:
            counts[kinds.index(kind), column] += 1


def _count_tags(counts: np.ndarray, true: list[str], predicted: list[str], tags: tuple[str, ...]) -> None:
    right = [a for a, b in zip(true, predicted, strict=True) if a == b]
    for column, words in enumerate((right, predicted, true)):
        for tag, n in Counter(words).items():
            if tag != "O":
                counts[tags.index(tag), column] += n
