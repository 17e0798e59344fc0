"""What a fuzz target is."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from tersor.errors import TersorError


@dataclass(frozen=True, slots=True)
class Target:
    """One parser that must bear any bytes.

    parse: takes the bytes; may raise TersorError, must raise nothing else, and asserts what the parser guarantees.
    seeds: inputs that it takes without an error, where mutation starts.
    """

    name: str
    parse: Callable[[bytes], None]
    seeds: Callable[[], list[bytes]]

    def accepts(self, data: bytes) -> bool:
        """Parse; return whether it is sound. Whatever else than a TersorError comes out is a finding."""
        try:
            self.parse(data)
        except TersorError:
            return False
        return True
