"""Layout `dense/1`: blocks of elements as they are (docs/format.md section 4.1)."""

import numpy as np

from . import codecs
from .context import FileContext
from .cursor import Cursor
from .errors import UnsupportedError, require
from .float_rows import BF16, F16, read_float_rows

BYTES, PLANES, FLOAT_ROWS = 0, 1, 2
UNIT_BF16, UNIT_F16, UNIT_F32 = 0, 1, 2


def decode_dense_block(stored: bytes, n_bytes: int, context: FileContext, what: str) -> bytes:
    """The `n_bytes` bytes of one block."""
    cursor = Cursor(stored, what)
    form = cursor.u8()
    if form == BYTES:
        codec = context.codec(cursor.u8())
        return codecs.decode(codec, cursor.rest(), n_bytes)
    if form == PLANES:
        stride = cursor.u8()
        require(stride >= 2, f"{what}: {stride} planes, at least 2 needed")
        data = _planes(cursor, stride, n_bytes, context)
    elif form == FLOAT_ROWS:
        data = _float_rows(cursor, n_bytes, context)
    else:
        raise UnsupportedError(f"{what}: form {form} of a dense block is not known")
    cursor.finish()
    return data


def _planes(cursor: Cursor, stride: int, n_bytes: int, context: FileContext) -> bytes:
    heads = [(context.codec(cursor.u8()), cursor.varint()) for _ in range(stride)]
    length = n_bytes // stride
    planes = [codecs.decode(codec, cursor.take(n_payload), length) for codec, n_payload in heads]
    return _interleave(planes, length) + cursor.take(n_bytes % stride)


def _interleave(planes: list[bytes], length: int) -> bytes:
    return np.stack([np.frombuffer(plane, np.uint8, length) for plane in planes], axis=1).tobytes()


def _float_rows(cursor: Cursor, n_bytes: int, context: FileContext) -> bytes:
    unit = cursor.u8()
    if unit in (UNIT_BF16, UNIT_F16):
        float_format = BF16 if unit == UNIT_BF16 else F16
        words = read_float_rows(cursor, n_bytes // 2, float_format, context.sets)
        return words.astype("<u2").tobytes() + cursor.take(n_bytes % 2)
    if unit != UNIT_F32:
        raise UnsupportedError(f"{cursor.what}: float unit {unit} is not known")
    return _split_float32(cursor, n_bytes, context)


def _split_float32(cursor: Cursor, n_bytes: int, context: FileContext) -> bytes:
    """The upper 16 bits as float rows, the two lower bytes as planes."""
    count = n_bytes // 4
    n_upper = cursor.varint()
    heads = [(context.codec(cursor.u8()), cursor.varint()) for _ in range(2)]
    upper_cursor = Cursor(cursor.take(n_upper), f"{cursor.what}: float rows")
    upper = read_float_rows(upper_cursor, count, BF16, context.sets)
    upper_cursor.finish()
    planes = [codecs.decode(codec, cursor.take(n_payload), count) for codec, n_payload in heads]
    upper_bytes = upper.astype("<u2").view(np.uint8).reshape(count, 2)
    planes += [upper_bytes[:, 0].tobytes(), upper_bytes[:, 1].tobytes()]
    return _interleave(planes, count) + cursor.take(n_bytes % 4)
