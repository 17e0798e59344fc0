"""A second reader of tersor archives, written from docs/format.md and docs/format-codecs.md alone.

It needs Python's standard library and numpy, shares no code with tersor, and checks everything that the
documents demand. It proves the documents, so it is written to be compared with them, not to be fast.
"""

from .errors import FormatError, UnsupportedError
from .folder import Archive, read_archive

__all__ = ["Archive", "FormatError", "UnsupportedError", "read_archive"]
