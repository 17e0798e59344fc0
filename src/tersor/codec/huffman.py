"""Codec `huffman`: canonical code of at most 12 bits per byte, four streams (cpp/src/huffman_*.cpp)."""

from __future__ import annotations

from typing import ClassVar

from tersor._core import huffman_decode, huffman_encode
from tersor.codec.base import Buffer, input_bytes, output_bytes


class Huffman:
    """Order-0 entropy coding in whole bits: fast to decode, good where no byte has more than half the mass.

    Guarantee: a payload is at most 160 bytes longer than the data.
    Source: canonical Huffman with package-merge lengths, Larmore and Hirschberg 1990.
    """

    name: ClassVar[str] = "huffman"

    def encode(self, data: Buffer) -> bytes:
        """Return code lengths and code streams of `data`."""
        return bytes(huffman_encode(input_bytes(data)))

    def decode(self, payload: Buffer, out: memoryview) -> None:
        """Fill `out`. Raises: CorruptError, also for an incomplete code or pad bits that are not zero."""
        huffman_decode(input_bytes(payload), output_bytes(out))
