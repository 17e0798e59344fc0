"""Tags of named entities: IOB1, IOB2 and BIOES told apart from the whole file, and converted to IOB2."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from typing import Literal

from tersor.errors import UsageError

Scheme = Literal["IOB1", "IOB2", "BIOES"]
# BILOU is BIOES with other letters: L(ast) = E(nd), U(nit) = S(ingle).
_TAG = re.compile(r"O|[BIESLU]-\S+")
_TO_IOB2 = {"B": "B", "I": "I", "S": "B", "U": "B", "E": "I", "L": "I"}
_SHOWN = 3


def is_tag(text: str) -> bool:
    """Whether `text` is "O" or a prefix of IOB1, IOB2, BIOES or BILOU, a hyphen and a type, such as "B-PER"."""
    return _TAG.fullmatch(text) is not None


def detect_scheme(sentences: Iterable[Sequence[str]]) -> Scheme:
    """The scheme that the tags of a whole file follow; IOB2 without any entity.

    sentences: the tags of each, every one of which `is_tag`.
    IOB1 writes B- only where an entity follows another of its type, IOB2 before every entity. So an entity that begins
    after "O" tells them apart. By majority: the train file of CoNLL-2003, IOB1, has two of its 23,499 entities in IOB2.
    """
    n_b_first = n_i_first = 0
    for tags in sentences:
        previous = "O"
        for tag in tags:
            if tag[0] in "ESLU":
                return "BIOES"
            if previous == "O":
                n_b_first += tag[0] == "B"
                n_i_first += tag[0] == "I"
            previous = tag
    return "IOB1" if n_i_first > n_b_first else "IOB2"


def to_iob2(tags: Sequence[str], scheme: Scheme) -> list[str]:
    """The same entities in IOB2: the first word B-, the others I-.

    tags: one sentence in `scheme`, valid (`broken_tags` is empty).
    """
    if scheme != "IOB1":
        return [tag if tag == "O" else _TO_IOB2[tag[0]] + tag[1:] for tag in tags]
    converted = []
    previous = "O"
    for tag in tags:
        starts = tag[0] == "B" or previous == "O" or previous[2:] != tag[2:]
        converted.append("O" if tag == "O" else ("B" if starts else "I") + tag[1:])
        previous = tag
    return converted


def broken_tags(tags: Sequence[str], scheme: Scheme) -> list[int]:
    """Positions whose tag cannot stand where it stands: an inside or an end without its beginning.

    Every order of B- and I- is valid IOB1.
    """
    if scheme == "IOB1":
        return []
    broken = []
    previous = "O"
    for position, tag in enumerate(tags):
        continues = tag[0] in "IEL"
        open_before = previous != "O" and previous[0] not in "ESLU" and previous[2:] == tag[2:]
        if continues and not open_before:
            broken.append(position)
        previous = tag
    return broken


def labels_of(tags: Iterable[Sequence[str]]) -> tuple[str, ...]:
    """The label set of IOB2 tags: "O", then B- and I- of every type, types in alphabetical order.

    Both of a type are always there: that no entity of two words was seen says nothing about new text.
    """
    kinds = sorted({tag[2:] for sentence in tags for tag in sentence if tag != "O"})
    return ("O", *(f"{prefix}-{kind}" for kind in kinds for prefix in "BI"))


def require_valid(tags: Sequence[Sequence[str]], scheme: Scheme, places: Sequence[Sequence[str]]) -> None:
    """Raise UsageError naming the first places where a tag cannot stand.

    places: file and line of every tag.
    """
    broken = [
        (sentence, position)
        for sentence, sentence_tags in enumerate(tags)
        for position in broken_tags(sentence_tags, scheme)
    ]
    if not broken:
        return
    sentence, position = broken[0]
    tag = tags[sentence][position]
    before = tags[sentence][position - 1] if position else "the sentence's beginning"
    others = [places[s][p].rsplit(" ", 1)[1] for s, p in broken[1 : 1 + _SHOWN]]
    more = f"; also at {', '.join(others)}{', ...' if len(broken) > 1 + _SHOWN else ''}" if others else ""
    raise UsageError(
        f"{places[sentence][position]}: tag {tag!r} after {before!r} continues an entity that does not begin "
        f"({len(broken)} such tags; the file's other tags are {scheme}){more}; mend the tags"
    )
