"""What several forms of a dense block are made of: planes and float words (docs/format.md section 4.1)."""

import numpy as np

from . import codecs
from .context import FileContext
from .cursor import Cursor
from .float_max import Columns, read_float_max
from .float_rows import MAX, FloatFormat, read_coder, read_float_rows


def read_heads(cursor: Cursor, count: int, context: FileContext) -> list[tuple[str, int]]:
    """Codec and length of so many planes."""
    return [(context.codec(cursor.u8()), cursor.varint()) for _ in range(count)]


def read_planes(cursor: Cursor, heads: list[tuple[str, int]], length: int) -> list[bytes]:
    """The planes, `length` bytes each."""
    return [codecs.decode(codec, cursor.take(n_payload), length) for codec, n_payload in heads]


def read_records(cursor: Cursor, stride: int, n_bytes: int, context: FileContext) -> bytes:
    """Form 1 behind its stride."""
    heads = read_heads(cursor, stride, context)
    length = n_bytes // stride
    return interleave(read_planes(cursor, heads, length), length) + cursor.take(n_bytes % stride)


def interleave(planes: list[bytes], length: int) -> bytes:
    return np.stack([np.frombuffer(plane, np.uint8, length) for plane in planes], axis=1).tobytes()


def read_words(
    cursor: Cursor, count: int, float_format: FloatFormat, columns: Columns, context: FileContext
) -> np.ndarray:
    """The payload of any float coder."""
    coder = read_coder(cursor)
    if coder == MAX:
        return read_float_max(cursor, count, float_format, context.sets, columns)
    return read_float_rows(cursor, count, float_format, context.sets, coder)
