"""Values of JSON that anybody may have written: taken if they are what is needed, else None or nothing."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from typing import Any

MAX_TEXT = 300
MAX_ITEMS = 20_000
_NOTHING: Mapping[str, Any] = {}


def number(value: object) -> float | None:
    """A finite number as float; None for anything else, truth values too."""
    if isinstance(value, bool) or not isinstance(value, int | float):
        return None
    try:
        found = float(value)
    except OverflowError:  # an integer of more than 308 digits
        return None
    return found if math.isfinite(found) else None


def count(value: object) -> int | None:
    """A whole number of at least 0; None for anything else."""
    found = number(value)
    return int(found) if found is not None and found >= 0 and found == int(found) else None


def text(value: object, default: str = "") -> str:
    """A string of at most MAX_TEXT characters, the rest cut off with "..."; `default` for anything else."""
    if not isinstance(value, str):
        return default
    return value if len(value) <= MAX_TEXT else value[: MAX_TEXT - 1] + "…"


def visible(value: str) -> str:
    """The string with what cannot be seen (control characters, marks that turn the direction) written as escapes."""
    return "".join(
        char if char.isprintable() or char == "\n" else char.encode("unicode_escape").decode()
        for char in value
    )


def mapping(value: object) -> Mapping[str, Any]:
    """An object as it is; an empty one for anything else."""
    return value if isinstance(value, Mapping) else _NOTHING


def items(value: object) -> list[Any]:
    """The first MAX_ITEMS of a list; [] for anything else."""
    return value[:MAX_ITEMS] if isinstance(value, list) else []


def objects(value: object) -> Iterator[Mapping[str, Any]]:
    """Those items of a list that are objects."""
    return (item for item in items(value) if isinstance(item, Mapping))
