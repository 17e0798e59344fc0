"""What the forms of a dense block share: their numbers, a checked reader, byte codecs and planes inside a payload."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from tersor.codec import CODECS, make_codec
from tersor.codec.auto import encode_smallest
from tersor.errors import CorruptError, NewerFormatError
from tersor.layouts.base import Context
from tersor.layouts.float_max import Columns

FORM_BYTES, FORM_PLANES, FORM_FLOAT_ROWS, FORM_NARROW_ROWS, FORM_FIELDS, FORM_CODES, FORM_DIFFERENCES = range(
    7
)
BYTE_CODECS = ("constant", "raw", "huffman", "rans", "zstd")
# A codec that cannot save this share of a sample is not tried on the rest: its decoding time would buy nothing.
WORTH_TRYING = 0.995

Bytes = npt.NDArray[np.uint8]


@dataclass(frozen=True, slots=True)
class Scope:
    """What a block's decoder must know besides its payload.

    where: names the block in errors; n_columns: of the block; columns: their scales and shapes, None without a head.
    """

    context: Context
    where: str
    n_columns: int
    columns: Columns | None


class Reader:
    """Walks through a block's payload; every step checks what is left."""

    def __init__(self, payload: memoryview, where: str) -> None:
        self._data = np.frombuffer(payload, np.uint8)
        self._position = 0
        self._where = where

    def u8(self) -> int:
        return int(self.bytes(1)[0])

    def varint(self) -> int:
        value = shift = 0
        while True:
            byte = self.u8()
            if shift > 63 or (shift and byte == 0):
                raise CorruptError(f"{self._where}: a varint is too long; the file is damaged")
            value |= (byte & 127) << shift
            if byte < 128:
                return value
            shift += 7

    def bytes(self, n: int) -> Bytes:
        left = len(self._data) - self._position
        if n > left:
            raise CorruptError(f"{self._where}: {left} bytes left, needs {n}; the file is damaged")
        self._position += n
        return self._data[self._position - n : self._position]

    def rest_but(self, n: int) -> Bytes:
        return self.bytes(max(len(self._data) - self._position - n, 0))

    def expect_end(self) -> None:
        if self._position != len(self._data):
            left = len(self._data) - self._position
            raise CorruptError(f"{self._where}: {left} bytes left over; the file is damaged")


def varint(value: int) -> bytes:
    """Unsigned LEB128."""
    out = bytearray()
    while value >= 128:
        out.append(value & 127 | 128)
        value >>= 7
    out.append(value)
    return bytes(out)


def codec_name(context: Context, number: int, where: str) -> str:
    """Return the name of a codec in the index's list. Raises: CorruptError, NewerFormatError."""
    if number >= len(context.codecs):
        raise CorruptError(
            f"{where}: codec {number}, the index lists {len(context.codecs)}; the file is damaged"
        )
    name = context.codecs[number]
    if name not in CODECS:
        raise NewerFormatError(
            f"{where}: unknown codec {name!r}; a newer tersor or a plug-in wrote this file"
        )
    return name


def decode_bytes(name: str, payload: Bytes, out: Bytes, where: str) -> None:
    """Fill out by a codec."""
    try:
        make_codec(name).decode(payload.data, out.data)
    except CorruptError as exc:
        raise CorruptError(f"{where}: {exc}") from exc


def encode_plane(plane: Bytes, names: Sequence[str], context: Context) -> tuple[bytes, bytes]:
    """Return head (codec, length) and payload of one plane; planes that look uniform are not given to any codec."""
    tried = names if names is not BYTE_CODECS or entropy(plane) < 8 * WORTH_TRYING else ("raw",)
    name, payload = encode_smallest(plane, tried)
    return bytes((context.codec_number(name),)) + varint(len(payload)), payload


def read_plane_head(reader: Reader, scope: Scope) -> tuple[str, int]:
    """Return codec and length of one plane."""
    return codec_name(scope.context, reader.u8(), scope.where), reader.varint()


def entropy(plane: Bytes) -> float:
    """Order-0 entropy of the bytes, bits per byte."""
    return entropy_bits(np.bincount(plane, minlength=256)) / max(len(plane), 1)


def entropy_bits(counts: npt.NDArray[np.integer]) -> float:
    """Bits of all elements under the best code for their histogram."""
    used = counts[counts > 0].astype(np.float64)
    return float(used.sum() * np.log2(used.sum()) - (used * np.log2(used)).sum()) if len(used) else 0.0


def misfit(where: str, what: str) -> CorruptError:
    """The error of a form that does not fit the block it claims to hold."""
    return CorruptError(f"{where}: {what}; the file is damaged")
