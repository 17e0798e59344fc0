"""What a tensor's name says: which layer it is of, and what it does there."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from itertools import count

_NUMBER = re.compile(r"(?<![^.])(\d{1,6})(?![^.])")


def layer_of(name: str) -> int | None:
    """The first number between dots, None without one: 3 for "encoder.layer.3.output.dense.weight"."""
    found = _NUMBER.search(name)
    return int(found[1]) if found else None


def role_of(name: str) -> str:
    """The name with every number between dots as "#": equal for the same tensor of all layers (and experts)."""
    return _NUMBER.sub("#", name)


def short_roles(roles: Sequence[str]) -> dict[str, str]:
    """Role -> what tells it from the others, for labels: "attention.self.query" of "bert.encoder.layer.#. ...".

    Of a layer's tensors what follows the layer's number, of others the last two words, without "weight"; the whole
    role where two labels would become equal.
    """
    short = {role: _shorten(role) for role in roles}
    uses = Counter(short.values())
    return {role: label if label and uses[label] == 1 else role for role, label in short.items()}


def _shorten(role: str) -> str:
    words = role.split(".")
    if len(words) > 1 and words[-1] == "weight":
        del words[-1]
    return ".".join(words[words.index("#") + 1 :] if "#" in words else words[-2:])


def labels_of(paths: Iterable[str]) -> list[str]:
    """A label for each path, no two equal: its last part, more of it where that is another's too, at last a number."""
    split = [[part for part in re.split(r"[/\\]", path) if part not in ("", ".")] or [path] for path in paths]
    depth = 1
    labels = [parts[-1] for parts in split]
    while len(set(labels)) < len(labels) and depth < max(map(len, split)):
        depth += 1
        labels = [
            "/".join(parts[-depth:]) if labels.count(label) > 1 else label
            for parts, label in zip(split, labels, strict=True)
        ]
    taken: set[str] = set()
    for place, label in enumerate(labels):
        free = next(name for name in _numbered(label) if name not in taken)
        taken.add(free)
        labels[place] = free
    return labels


def _numbered(label: str) -> Iterator[str]:
    """label, "label (2)", "label (3)", ..."""
    yield label
    yield from (f"{label} ({number})" for number in count(2))
