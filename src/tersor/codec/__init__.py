"""Bytes to fewer bytes and back: `make_codec("huffman").encode(data)`.

To add a codec, write `codec/x.py` with a class that keeps the contract of `base.Codec`, add its line here,
its section "Codec `x`" to the format document, and its golden (tests/conformance/make_codec_goldens.py).
"""

from __future__ import annotations

from tersor.codec.base import Buffer, Codec
from tersor.registry import Registry

CODECS: Registry[type[Codec]] = Registry(
    "codec",
    {
        "constant": "tersor.codec.constant:Constant",
        "raw": "tersor.codec.raw:Raw",
        "huffman": "tersor.codec.huffman:Huffman",
        "rans": "tersor.codec.rans:Rans",
        "zstd": "tersor.codec.zstd:Zstd",
        "lzw": "tersor.codec.lzw:Lzw",
    },
)


def make_codec(name: str) -> Codec:
    """Return the codec `name` with its default options. Raises: UnknownNameError naming the nearest."""
    return CODECS.get(name)()


__all__ = ["CODECS", "Buffer", "Codec", "make_codec"]
