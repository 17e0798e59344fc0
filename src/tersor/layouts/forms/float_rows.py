"""Form 2: floats as 16-bit words by a float coder, the low half of F32 as two byte planes (docs/format.md 4.1)."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from tersor.errors import NewerFormatError
from tersor.layouts.base import Context
from tersor.layouts.float_words import UNIT_BYTES
from tersor.layouts.forms.parts import (
    BYTE_CODECS,
    FORM_FLOAT_ROWS,
    Bytes,
    Reader,
    Scope,
    decode_bytes,
    encode_plane,
    read_plane_head,
    varint,
)
from tersor.layouts.forms.words import decode_words


def encode(upper: bytes, unit: int, block: npt.NDArray[Any], context: Context) -> bytes:
    """Return the form of a block (rows, columns) whose words are already a float-row payload, `upper`."""
    start = bytes((FORM_FLOAT_ROWS, unit))
    if UNIT_BYTES[unit] == 2:
        return start + upper
    quads = block.reshape(-1).view(np.uint8).reshape(-1, 4)
    planes = [
        encode_plane(np.ascontiguousarray(quads[:, number]), BYTE_CODECS, context) for number in range(2)
    ]
    return b"".join(
        (start, varint(len(upper)), *(head for head, _ in planes), upper, *(body for _, body in planes))
    )


def decode(reader: Reader, out: Bytes, scope: Scope) -> None:
    """Fill out. Raises: CorruptError, NewerFormatError."""
    unit = reader.u8()
    if unit >= len(UNIT_BYTES):
        raise NewerFormatError(
            f"{scope.where}: float unit {unit}; this tersor knows 0 (BF16), 1 (F16) and 2 (F32)"
        )
    n_tail = len(out) % UNIT_BYTES[unit]
    body = out[: len(out) - n_tail]
    if UNIT_BYTES[unit] == 2:
        decode_words(reader.rest_but(n_tail), unit, body, scope)
    else:
        _decode_halves(reader, unit, body, scope)
    out[len(out) - n_tail :] = reader.bytes(n_tail)


def _decode_halves(reader: Reader, unit: int, body: Bytes, scope: Scope) -> None:
    length = reader.varint()
    heads = [read_plane_head(reader, scope) for _ in range(2)]
    words = np.empty(len(body) // 4, np.uint16)
    decode_words(reader.bytes(length), unit, words.view(np.uint8), scope)
    quads = body.reshape(-1, 4)
    quads[:, 2:] = words.view(np.uint8).reshape(-1, 2)
    plane = np.empty(len(quads), np.uint8)
    for number, (name, n_bytes) in enumerate(heads):
        decode_bytes(name, reader.bytes(n_bytes), plane, scope.where)
        quads[:, number] = plane
