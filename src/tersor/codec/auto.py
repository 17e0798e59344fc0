"""`auto`: the codec that makes the fewest bytes, by trial. Files name what was chosen."""

from __future__ import annotations

from collections.abc import Iterable

from tersor.codec import CODECS, make_codec
from tersor.codec.base import Buffer
from tersor.codec.constant import is_constant
from tersor.errors import UsageError

# Cheapest to decode first: the earlier name wins a tie.
ORDER = ("constant", "raw", "huffman", "rans", "zstd", "lzw")


def encode_smallest(data: Buffer, names: Iterable[str] = ORDER) -> tuple[str, bytes]:
    """Return the name and the payload of the codec that makes `data` smallest.

    names: codecs to try, in any order; `constant` is left out where it does not apply.
    Ties go to the earlier name in ORDER, then (codecs of other packages) by alphabet.
    Raises: UnknownNameError; UsageError if no codec is left.
    """
    candidates = sorted(set(names), key=_decode_rank)
    for name in candidates:
        CODECS.get(name)
    if "constant" in candidates:
        if is_constant(data):
            return "constant", make_codec("constant").encode(data)  # none is smaller
        candidates.remove("constant")
    if not candidates:
        raise UsageError("no codec applies: 'constant' needs equal bytes; add 'raw' to the codecs to try")
    payloads = [(name, make_codec(name).encode(data)) for name in candidates]
    return min(payloads, key=lambda choice: len(choice[1]))


def _decode_rank(name: str) -> tuple[int, str]:
    return (ORDER.index(name) if name in ORDER else len(ORDER), name)
