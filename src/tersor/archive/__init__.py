"""The container: header, index, blocks, checksums. Knows layouts, never algorithms; needs numpy only.

`open_archive(path)` gives a mapping from names to arrays; `tersor.archive.writer.ArchiveWriter` makes a file.
"""

from __future__ import annotations

from tersor.archive.reader import Archive, open_archive

__all__ = ["Archive", "open_archive"]
