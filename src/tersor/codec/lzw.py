"""Codec `lzw`: phrases seen before, codes of 9 to 16 bits, reset on decay (cpp/src/lzw_*.cpp)."""

from __future__ import annotations

from typing import ClassVar

from tersor._core import lzw_decode, lzw_encode
from tersor.codec.base import Buffer, input_bytes, output_bytes


class Lzw:
    """Dictionary coding: finds repeated strings, which entropy coders of single bytes cannot see.

    Guarantee: a payload is at most twice as long as the data (random bytes: 1.35 times).
    Source: Welch 1984; the reset rule is ours.
    """

    name: ClassVar[str] = "lzw"

    def encode(self, data: Buffer) -> bytes:
        """Return the packed codes of `data`."""
        return bytes(lzw_encode(input_bytes(data)))

    def decode(self, payload: Buffer, out: memoryview) -> None:
        """Fill `out`. Raises: CorruptError, also for unknown codes or pad bits that are not zero."""
        lzw_decode(input_bytes(payload), output_bytes(out))
