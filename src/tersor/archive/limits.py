"""What a reader accepts before it allocates anything; docs/format.md states the same numbers."""

from __future__ import annotations

from typing import Final

FORMAT_VERSION: Final = 1
ARCHIVE_SUFFIX: Final = ".tersor.safetensors"
INDEX_NAME: Final = "tersor.index"
ALIGNMENT: Final = 8

MAX_INDEX_BYTES: Final = 1 << 28
# A few KB of zstd may claim 256 MB of index; what it unpacks to is therefore bounded by its own length too.
INDEX_FREE_BYTES: Final = 1 << 24
INDEX_RATIO: Final = 64

MAX_RANK: Final = 32
MAX_NESTING: Final = 64  # of metas and of the provenance
MAX_ELEMENTS: Final = (1 << 48) - 1
MAX_NAMES: Final = 256  # layouts, codecs and table sets: blocks number them with one byte
MAX_TENSORS: Final = 1 << 22
MAX_PATHS: Final = 1 << 20
MIN_DIGEST_BYTES: Final = 16
MAX_DIGEST_BYTES: Final = 32
SHA256_BYTES: Final = 32
MAX_HINT_CHARACTERS: Final = 4096
MAX_VARINT_BYTES: Final = 10

# First range request: long enough to hold header and index of most models, and the index's place always.
HEAD_GUESS_BYTES: Final = 1 << 16
# Blocks that lie side by side are read together up to this, a compromise of latency and memory.
MAX_RUN_BYTES: Final = 1 << 23
# Of a remote file, whose size is only claimed. More than the greatest header and index together.
MAX_REQUEST_BYTES: Final = 1 << 29
MAX_REMOTE_FILES: Final = 1 << 12


def max_index_bytes(n_frame_bytes: int) -> int:
    """Return the greatest index length that a zstd frame of n_frame_bytes may claim."""
    return min(MAX_INDEX_BYTES, INDEX_FREE_BYTES + INDEX_RATIO * n_frame_bytes)
