"""What the streams of one archive file share."""

from dataclasses import dataclass

from .errors import require
from .tables import TableSets


@dataclass(frozen=True)
class FileContext:
    """The codec names and table sets of an index."""

    codecs: list[str]
    sets: TableSets

    def codec(self, number: int) -> str:
        """The name of codec `number`."""
        require(number < len(self.codecs), f"codec {number}: the file names {len(self.codecs)}")
        return self.codecs[number]
