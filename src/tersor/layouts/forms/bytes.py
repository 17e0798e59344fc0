"""Form 0: one byte codec for the whole block (docs/format.md 4.1)."""

from __future__ import annotations

from collections.abc import Sequence

from tersor.codec.auto import encode_smallest
from tersor.layouts.base import Context
from tersor.layouts.forms.parts import FORM_BYTES, Bytes, Reader, Scope, codec_name, decode_bytes


def encode(data: Bytes, names: Sequence[str], context: Context) -> bytes:
    """Return the smallest that the named codecs make of the bytes."""
    name, payload = encode_smallest(data, names)
    return bytes((FORM_BYTES, context.codec_number(name))) + payload


def decode(reader: Reader, out: Bytes, scope: Scope) -> None:
    """Fill out. Raises: CorruptError, NewerFormatError."""
    name = codec_name(scope.context, reader.u8(), scope.where)
    decode_bytes(name, reader.rest_but(0), out, scope.where)
