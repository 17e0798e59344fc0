"""Form 1: every stride-th byte as a plane with a codec of its own (docs/format.md 4.1)."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from tersor.layouts.base import Context
from tersor.layouts.forms.parts import (
    FORM_PLANES,
    Bytes,
    Reader,
    Scope,
    decode_bytes,
    encode_plane,
    misfit,
    read_plane_head,
)

MIN_STRIDE = 2


def encode(data: Bytes, stride: int, names: Sequence[str], context: Context) -> bytes:
    """Return the block with its planes each in the smallest of the named codecs."""
    return bytes((FORM_PLANES, stride)) + encode_body(data, stride, names, context)


def encode_body(data: Bytes, stride: int, names: Sequence[str], context: Context) -> bytes:
    """Heads, payloads and the bytes that fill no whole record."""
    n_tail = len(data) % stride
    records = data[: len(data) - n_tail].reshape(-1, stride)
    planes = [
        encode_plane(np.ascontiguousarray(records[:, number]), names, context) for number in range(stride)
    ]
    tail = data[len(data) - n_tail :].tobytes()
    return b"".join((*(head for head, _ in planes), *(payload for _, payload in planes), tail))


def decode(reader: Reader, out: Bytes, scope: Scope) -> None:
    """Fill out. Raises: CorruptError, NewerFormatError."""
    stride = reader.u8()
    if stride < MIN_STRIDE:
        raise misfit(scope.where, f"{stride} planes, needs {MIN_STRIDE} to 255")
    decode_body(reader, stride, out, scope)


def decode_body(reader: Reader, stride: int, out: Bytes, scope: Scope) -> None:
    """Fill out from what `encode_body` makes."""
    heads = [read_plane_head(reader, scope) for _ in range(stride)]
    n_tail = len(out) % stride
    records = out[: len(out) - n_tail].reshape(-1, stride)
    plane = np.empty(len(records), np.uint8)
    for number, (name, length) in enumerate(heads):
        decode_bytes(name, reader.bytes(length), plane, scope.where)
        records[:, number] = plane
    out[len(out) - n_tail :] = reader.bytes(n_tail)
