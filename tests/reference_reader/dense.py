"""Layout `dense/1`: blocks of elements as they are (docs/format.md section 4.1)."""

import numpy as np

from . import codecs
from .context import FileContext
from .cursor import Cursor
from .dense_forms import read_code_rows, read_differences, read_fields, read_narrow_rows
from .dense_parts import interleave, read_heads, read_planes, read_records, read_words
from .errors import UnsupportedError, require
from .float_max import Columns
from .float_rows import BF16, F16

BYTES, PLANES, FLOAT_ROWS, NARROW_ROWS, FIELDS, CODES, DIFFERENCES = range(7)
UNIT_BF16, UNIT_F16, UNIT_F32 = 0, 1, 2


def decode_dense_block(
    stored: bytes, n_bytes: int, columns: Columns, context: FileContext, what: str
) -> bytes:
    """The `n_bytes` bytes of one block. columns: those of the block, for coder max."""
    cursor = Cursor(stored, what)
    form = cursor.u8()
    if form == BYTES:
        codec = context.codec(cursor.u8())
        return codecs.decode(codec, cursor.rest(), n_bytes)
    if form == PLANES:
        stride = cursor.u8()
        require(stride >= 2, f"{what}: {stride} planes, at least 2 needed")
        data = read_records(cursor, stride, n_bytes, context)
    elif form == FLOAT_ROWS:
        data = _float_rows(cursor, n_bytes, columns, context)
    elif form == NARROW_ROWS:
        data = read_narrow_rows(cursor, n_bytes, columns, context)
    elif form == FIELDS:
        data = read_fields(cursor, n_bytes, context)
    elif form == CODES:
        data = read_code_rows(cursor, n_bytes, context)
    elif form == DIFFERENCES:
        data = read_differences(cursor, n_bytes, context)
    else:
        raise UnsupportedError(f"{what}: form {form} of a dense block is not known")
    cursor.finish()
    return data


def _float_rows(cursor: Cursor, n_bytes: int, columns: Columns, context: FileContext) -> bytes:
    unit = cursor.u8()
    if unit in (UNIT_BF16, UNIT_F16):
        float_format = BF16 if unit == UNIT_BF16 else F16
        words = read_words(cursor, n_bytes // 2, float_format, columns, context)
        return words.astype("<u2").tobytes() + cursor.take(n_bytes % 2)
    if unit != UNIT_F32:
        raise UnsupportedError(f"{cursor.what}: float unit {unit} is not known")
    return _split_float32(cursor, n_bytes, columns, context)


def _split_float32(cursor: Cursor, n_bytes: int, columns: Columns, context: FileContext) -> bytes:
    """The upper 16 bits as float rows, the two lower bytes as planes."""
    count = n_bytes // 4
    n_upper = cursor.varint()
    heads = read_heads(cursor, 2, context)
    upper_cursor = Cursor(cursor.take(n_upper), f"{cursor.what}: float rows")
    upper = read_words(upper_cursor, count, BF16, columns, context)
    upper_cursor.finish()
    planes = read_planes(cursor, heads, count)
    upper_bytes = upper.astype("<u2").view(np.uint8).reshape(count, 2)
    planes += [upper_bytes[:, 0].tobytes(), upper_bytes[:, 1].tobytes()]
    return interleave(planes, count) + cursor.take(n_bytes % 4)
