"""Forms 3 to 6 of a dense block: narrow rows, fields, codes, differences (docs/format.md section 4.1)."""

import numpy as np

from . import codecs
from .codes import read_codes
from .context import FileContext
from .cursor import Cursor, mixed_width
from .dense_parts import interleave, read_heads, read_planes, read_records, read_words
from .errors import UnsupportedError, require
from .float_max import Columns
from .float_rows import BF16
from .integers import COLUMN_CLASSES, I16, ROW_CLASSES, TRAILING_ZEROS, check_range, read_integers

MAX_GROUPS = 32
I8_UNIT, U8_UNIT, INT4_UNIT, UINT4_UNIT, E4M3_UNIT, E5M2_UNIT = range(6)
VALUES, DIFFERENCES = 0, 1


def read_narrow_rows(cursor: Cursor, n_bytes: int, columns: Columns, context: FileContext) -> bytes:
    """Form 3."""
    n_columns = columns.scales.shape[1]
    require(n_bytes % (4 * n_columns) == 0, f"{cursor.what}: {n_bytes} bytes are no rows of {n_columns} F32")
    count, n_rows = n_bytes // 4, n_bytes // (4 * n_columns)
    n_upper, n_flags = cursor.varint(), cursor.varint()
    heads = read_heads(cursor, 2, context)
    upper_cursor = Cursor(cursor.take(n_upper), f"{cursor.what}: float rows")
    upper = read_words(upper_cursor, count, BF16, columns, context)
    upper_cursor.finish()
    flags = Cursor(cursor.take(n_flags), f"{cursor.what}: trailing zeros")
    zeros = read_integers(flags, n_rows, context.sets, TRAILING_ZEROS, (0, 16))
    flags.finish()
    low = np.zeros((n_rows, n_columns), np.int64)
    wide = zeros == 0
    n_wide = int(wide.sum()) * n_columns
    pairs = interleave(read_planes(cursor, heads, n_wide), n_wide)
    low[wide] = np.frombuffer(pairs, "<u2").reshape(-1, n_columns)
    widths = np.repeat(16 - zeros[~wide], n_columns)
    values = mixed_width(cursor.bits(int(widths.sum())), widths)
    low[~wide] = values.reshape(-1, n_columns) << zeros[~wide, None]
    return (upper.astype(np.int64) << 16 | low.reshape(-1)).astype("<u4").tobytes()


def read_fields(cursor: Cursor, n_bytes: int, context: FileContext) -> bytes:
    """Form 4."""
    stride = cursor.u8()
    require(stride >= 2, f"{cursor.what}: records of {stride} bytes")
    n_groups = cursor.u8()
    require(1 <= n_groups <= MAX_GROUPS, f"{cursor.what}: {n_groups} groups of byte positions")
    groups = [(list(cursor.take(cursor.u8())), cursor.u8()) for _ in range(n_groups)]
    heads = read_heads(cursor, n_groups, context)
    records = np.zeros((n_bytes // stride, stride), np.uint8)
    known: list[int] = []
    for (positions, reference), (codec, n_payload) in zip(groups, heads, strict=True):
        require(len(positions) > 0, f"{cursor.what}: an empty group of byte positions")
        require(reference in (*known, stride), f"{cursor.what}: reference {reference} is not known yet")
        data = codecs.decode(codec, cursor.take(n_payload), len(records) * len(positions))
        part = np.frombuffer(data, np.uint8).reshape(len(records), len(positions))
        for number, position in enumerate(positions):
            require(position < stride, f"{cursor.what}: byte position {position} of {stride}")
            base = records[:, reference] if reference < stride else np.uint8(0)
            records[:, position] = part[:, number] + base
        known += positions
    require(sorted(known) == list(range(stride)), f"{cursor.what}: not each byte position is in one group")
    return records.tobytes() + cursor.take(n_bytes % stride)


def read_code_rows(cursor: Cursor, n_bytes: int, context: FileContext) -> bytes:
    """Form 5."""
    unit = cursor.u8()
    if unit > E5M2_UNIT:
        raise UnsupportedError(f"{cursor.what}: codes of unit {unit} are not known")
    row_length = cursor.varint()
    is_packed = unit in (INT4_UNIT, UINT4_UNIT)
    count = 2 * n_bytes if is_packed else n_bytes
    require(
        row_length > 0 and count % row_length == 0, f"{cursor.what}: rows of {row_length} in {count} codes"
    )
    row_classes = read_integers(cursor, count // row_length, context.sets, ROW_CLASSES, I16)
    column_classes = read_integers(cursor, row_length, context.sets, COLUMN_CLASSES, I16)
    codes, _ = read_codes(cursor, row_classes, column_classes, context.sets.kind("codes"), 0)
    limits = (-8, 7) if is_packed else (-128, 127)
    return bytes_of_codes(check_range(codes.reshape(-1), limits, cursor.what), unit)


def bytes_of_codes(codes: np.ndarray, unit: int) -> bytes:
    """The bytes that hold codes (n,)."""
    if unit in (INT4_UNIT, UINT4_UNIT):
        halves = codes % 16 if unit == INT4_UNIT else codes + 8
        return (halves[::2] + 16 * halves[1::2]).astype(np.uint8).tobytes()
    if unit in (E4M3_UNIT, E5M2_UNIT):
        return np.where(codes < 0, 128 + -codes % 128, codes).astype(np.uint8).tobytes()
    return (codes % 256 if unit == I8_UNIT else codes + 128).astype(np.uint8).tobytes()


def read_differences(cursor: Cursor, n_bytes: int, context: FileContext) -> bytes:
    """Form 6."""
    width, order = cursor.u8(), cursor.u8()
    require(
        width in (2, 4, 8) and order in (VALUES, DIFFERENCES), f"{cursor.what}: width {width}, order {order}"
    )
    require(n_bytes % width == 0, f"{cursor.what}: {n_bytes} bytes are no integers of {width}")
    data = read_records(cursor, width, n_bytes, context)
    value, mask, values = 0, (1 << 8 * width) - 1, []
    for start in range(0, n_bytes, width):
        zigzag = int.from_bytes(data[start : start + width], "little")
        step = zigzag >> 1 ^ -(zigzag & 1)
        value = step + (value if order == DIFFERENCES else 0) & mask
        values.append(value)
    return np.array(values, f"<u{width}").tobytes()
