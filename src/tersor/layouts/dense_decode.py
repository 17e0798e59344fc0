"""Reads the three forms of a dense block: bytes, planes, float rows."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from tersor import _core
from tersor.codec import CODECS, make_codec
from tersor.errors import CorruptError, NewerFormatError
from tersor.layouts.base import Context
from tersor.layouts.float_words import UNIT_BYTES, WORD_FORMAT
from tersor.layouts.tables import FLOAT_ROW_CLASSES, compile_tables, find_tables

Bytes = npt.NDArray[np.uint8]
FORM_BYTES, FORM_PLANES, FORM_FLOAT_ROWS = range(3)
MIN_STRIDE = 2


class _Reader:
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


def decode_block(payload: memoryview, out: Bytes, context: Context, where: str) -> None:
    """Fill out, the block's bytes, from its payload. Raises: CorruptError, NewerFormatError."""
    reader = _Reader(payload, where)
    form = reader.u8()
    if form == FORM_BYTES:
        name = _codec_name(context, reader.u8(), where)
        _decode_bytes(name, reader.rest_but(0), out, where)
    elif form == FORM_PLANES:
        _decode_planes(reader, out, context, where)
    elif form == FORM_FLOAT_ROWS:
        _decode_float_rows(reader, out, context, where)
    else:
        raise NewerFormatError(f"{where}: form {form} of a dense block; this tersor knows 0, 1 and 2")
    reader.expect_end()


def _codec_name(context: Context, number: int, where: str) -> str:
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


def _decode_bytes(name: str, payload: Bytes, out: Bytes, where: str) -> None:
    try:
        make_codec(name).decode(payload.data, out.data)
    except CorruptError as exc:
        raise CorruptError(f"{where}: {exc}") from exc


def _decode_planes(reader: _Reader, out: Bytes, context: Context, where: str) -> None:
    stride = reader.u8()
    if stride < MIN_STRIDE:
        raise CorruptError(f"{where}: {stride} planes; needs {MIN_STRIDE} to 255")
    heads = [(_codec_name(context, reader.u8(), where), reader.varint()) for _ in range(stride)]
    n_tail = len(out) % stride
    planes = out[: len(out) - n_tail].reshape(-1, stride)
    plane = np.empty(len(planes), np.uint8)
    for number, (name, length) in enumerate(heads):
        _decode_bytes(name, reader.bytes(length), plane, where)
        planes[:, number] = plane
    out[len(out) - n_tail :] = reader.bytes(n_tail)


def _decode_float_rows(reader: _Reader, out: Bytes, context: Context, where: str) -> None:
    unit = reader.u8()
    if unit >= len(UNIT_BYTES):
        raise NewerFormatError(f"{where}: float unit {unit}; this tersor knows 0 (BF16), 1 (F16) and 2 (F32)")
    n_tail = len(out) % UNIT_BYTES[unit]
    body = out[: len(out) - n_tail]
    if UNIT_BYTES[unit] == 2:
        _decode_words(reader.rest_but(n_tail), unit, body, context, where)
    else:
        length = reader.varint()
        heads = [(_codec_name(context, reader.u8(), where), reader.varint()) for _ in range(2)]
        words = np.empty(len(body) // 4, np.uint16)
        _decode_words(reader.bytes(length), unit, words.view(np.uint8), context, where)
        quads = body.reshape(-1, 4)
        quads[:, 2:] = words.view(np.uint8).reshape(-1, 2)
        plane = np.empty(len(quads), np.uint8)
        for number, (name, n_bytes) in enumerate(heads):
            _decode_bytes(name, reader.bytes(n_bytes), plane, where)
            quads[:, number] = plane
    out[len(out) - n_tail :] = reader.bytes(n_tail)


def _decode_words(payload: Bytes, unit: int, out: Bytes, context: Context, where: str) -> None:
    if len(payload) and payload[0] > 1:
        raise NewerFormatError(
            f"{where}: float coder {payload[0]}; this tersor knows 0 (balanced) and 1 (fast)"
        )
    balanced, fast, side = (find_tables(context.table_sets, kind) for kind in ("float12", "float8", "side"))
    if side is None or side.n_tables == 0 or (balanced is None and fast is None):
        raise CorruptError(f"{where}: the index lacks the tables of float rows; the file is damaged")
    aligned = out if out.ctypes.data % 2 == 0 else np.empty_like(out)
    try:
        _core.decode_float_rows(
            payload,
            WORD_FORMAT[unit],
            None if balanced is None else compile_tables(balanced),
            None if fast is None else compile_tables(fast),
            compile_tables(side),
            FLOAT_ROW_CLASSES,
            aligned.view(np.uint16),
        )
    except CorruptError as exc:
        raise CorruptError(f"{where}: {exc}; the file is damaged") from exc
    if aligned is not out:
        out[...] = aligned
