"""Layout `sparse/1`: a mask and the elements that are not zero (docs/format.md section 4.5)."""

import numpy as np

from . import codecs
from .context import FileContext
from .cursor import Cursor
from .dense import decode_dense_block
from .errors import UnsupportedError, require
from .float_max import Columns

BITS_BY_ROW, BITS_BY_COLUMN, GAPS = range(3)
MAX_GAP_BYTES = 3


def decode_sparse_block(
    stored: bytes, shape: tuple[int, int], n_element_bytes: int, context: FileContext, what: str
) -> bytes:
    """The bytes of one block of so many rows and columns."""
    cursor = Cursor(stored, what)
    kept = _read_mask(cursor, shape, context)
    elements = np.zeros((*shape, n_element_bytes), np.uint8)
    n_kept = int(kept.sum())
    if n_kept:
        by_row = {int(count) for count in kept.sum(axis=1)}
        n_columns = by_row.pop() if len(by_row) == 1 else n_kept
        n_bytes = n_kept * n_element_bytes
        data = decode_dense_block(cursor.rest(), n_bytes, Columns.flat(n_columns), context, what)
        elements[kept] = np.frombuffer(data, np.uint8).reshape(n_kept, n_element_bytes)
    cursor.finish()
    return elements.tobytes()


def _read_mask(cursor: Cursor, shape: tuple[int, int], context: FileContext) -> np.ndarray:
    n_rows, n_columns = shape
    kind = cursor.u8()
    if kind == GAPS:
        return _read_gaps(cursor, n_rows * n_columns, context).reshape(shape)
    if kind not in (BITS_BY_ROW, BITS_BY_COLUMN):
        raise UnsupportedError(f"{cursor.what}: a mask of kind {kind} is not known")
    n_elements = n_rows * n_columns
    codec, n_payload = context.codec(cursor.u8()), cursor.varint()
    data = codecs.decode(codec, cursor.take(n_payload), -(-n_elements // 8))
    bits = np.unpackbits(np.frombuffer(data, np.uint8), bitorder="little").astype(bool)
    require(not bits[n_elements:].any(), f"{cursor.what}: mask bits behind the last element")
    if kind == BITS_BY_ROW:
        return bits[:n_elements].reshape(shape)
    return bits[:n_elements].reshape(n_columns, n_rows).T


def _read_gaps(cursor: Cursor, n_elements: int, context: FileContext) -> np.ndarray:
    n_gap_bytes = cursor.varint()
    require(n_gap_bytes <= MAX_GAP_BYTES * n_elements, f"{cursor.what}: {n_gap_bytes} bytes of gaps")
    codec, n_payload = context.codec(cursor.u8()), cursor.varint()
    gaps = Cursor(codecs.decode(codec, cursor.take(n_payload), n_gap_bytes), f"{cursor.what}: gaps")
    kept = np.zeros(n_elements, bool)
    place = -1
    while gaps.left:
        begin = gaps.position
        place += gaps.varint() + 1
        require(gaps.position - begin <= MAX_GAP_BYTES, f"{gaps.what}: a gap of more than three bytes")
        require(place < n_elements, f"{gaps.what}: beyond the last element")
        kept[place] = True
    return kept
