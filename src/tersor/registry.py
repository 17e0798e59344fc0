"""Names to code, imported on first use: `Registry("codec", {"zstd": "tersor.codec.zstd:Zstd"})`.

One line adds an entry. Packages outside tersor add theirs through entry points of the group
`tersor.<kind>s`, for example `[project.entry-points."tersor.codecs"] mine = "my_pkg:Mine"`.
"""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Iterator
from importlib import import_module
from importlib.metadata import entry_points
from typing import Generic, TypeVar

from tersor.errors import UnknownNameError

T = TypeVar("T")


def did_you_mean(name: str, known: Iterable[str]) -> str:
    """Return the end of a sentence: "; did you mean 'x'?" for the nearest known name, "." if none is near."""
    near = difflib.get_close_matches(name, list(known), n=1, cutoff=0.5)
    return f"; did you mean {near[0]!r}?" if near else "."


class Registry(Generic[T]):
    """A lazy mapping from a name to an object given as "module:attribute".

    kind: what an entry is, in one word; it names the entry-point group and appears in errors.
    Guarantee: no entry's module is imported before `get` asks for it.
    """

    def __init__(self, kind: str, entries: dict[str, str]) -> None:
        self.kind = kind
        self._targets = dict(entries)
        self._loaded: dict[str, T] = {}
        self._scanned = False

    def _scan(self) -> None:
        if not self._scanned:
            for point in entry_points(group=f"tersor.{self.kind}s"):
                self._targets.setdefault(point.name, point.value)
            self._scanned = True

    def add(self, name: str, target: str) -> None:
        """Register "module:attribute" under a new name. Raises ValueError if the name is taken."""
        if name in self._targets:
            raise ValueError(f"{self.kind} {name!r} is already registered as {self._targets[name]}")
        self._targets[name] = target

    def get(self, name: str) -> T:
        """Return the object registered under `name`. Raises UnknownNameError naming the nearest."""
        if name not in self._loaded:
            if name not in self._targets:
                self._scan()
            if name not in self._targets:
                raise UnknownNameError(
                    f"unknown {self.kind} {name!r}{did_you_mean(name, self._targets)} "
                    f"Known: {', '.join(sorted(self._targets))}."
                )
            module, _, attribute = self._targets[name].partition(":")
            self._loaded[name] = getattr(import_module(module), attribute)
        return self._loaded[name]

    def names(self) -> list[str]:
        """All names, built-in ones in the order of the registry, then those of entry points."""
        self._scan()
        return list(self._targets)

    def __contains__(self, name: str) -> bool:
        self._scan()
        return name in self._targets

    def __iter__(self) -> Iterator[str]:
        return iter(self.names())
