"""Form 3: F32 rows whose values are exact in a narrower type, without their trailing zero bits (docs/format.md 4.1)."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import numpy.typing as npt

from tersor import _core
from tersor.errors import CorruptError
from tersor.layouts.base import Context
from tersor.layouts.float_words import UNITS
from tersor.layouts.forms.parts import (
    BYTE_CODECS,
    FORM_NARROW_ROWS,
    Bytes,
    Reader,
    Scope,
    decode_bytes,
    encode_plane,
    misfit,
    read_plane_head,
    varint,
)
from tersor.layouts.forms.words import decode_words
from tersor.layouts.tables import (
    SIDE_SYMBOLS,
    TRAILING_ZEROS,
    Counts,
    TableSet,
    compile_tables,
    count_integers,
    find_tables,
)

MAX_ZEROS = 16
_WORTH_BITS = 1 << 12  # a side table and the flags of a few rows cost about a quarter of it
_CHUNK_BYTES = 1 << 23

Words = npt.NDArray[np.uint16]


def low_halves(block: npt.NDArray[Any]) -> Words:
    """The lower 16 bits of an F32 matrix, contiguous (rows, columns)."""
    return np.ascontiguousarray(block.view("<u2")[:, ::2])


def count_narrow_rows(matrix: npt.NDArray[Any], pause: Callable[[], None] | None = None) -> Counts:
    """Histogram (64,) of the trailing zeros of an F32 matrix's rows, all 0 if leaving them out would not pay.

    pause: called whenever a few MB have been read.
    """
    zeros = np.empty(len(matrix), np.uint8)
    n_rows = max(_CHUNK_BYTES // max(matrix.itemsize * matrix.shape[1], 1), 1)
    for row in range(0, len(matrix), n_rows):
        _core.trailing_zeros(matrix[row : row + n_rows].view("<u2"), zeros[row : row + n_rows])
        if pause is not None:
            pause()
    saved = int(zeros.sum(dtype=np.int64)) * matrix.shape[1]
    return count_integers([zeros]) if saved >= _WORTH_BITS else np.zeros(SIDE_SYMBOLS, np.uint64)


def side_tables(context: Context) -> TableSet | None:
    """The side tables if they hold that of trailing zeros: the file has narrow rows."""
    side = find_tables(context.table_sets, "side")
    return side if side is not None and side.n_tables > TRAILING_ZEROS else None


def encode(upper: bytes, block: npt.NDArray[Any], context: Context) -> bytes | None:
    """Return the form of an F32 block (rows, columns) with float-row payload `upper`; None if no row is narrow."""
    side = side_tables(context)
    if side is None:
        return None
    low = low_halves(block)
    zeros = np.empty(len(block), np.uint8)
    _core.trailing_zeros(block.view("<u2"), zeros)
    if not zeros.any():
        return None
    flags = _core.encode_integers(zeros.astype(np.int32), compile_tables(side), TRAILING_ZEROS)
    wide = low[zeros == 0].reshape(-1).view(np.uint8).reshape(-1, 2)
    planes = [
        encode_plane(np.ascontiguousarray(wide[:, number]), BYTE_CODECS, context) for number in range(2)
    ]
    return b"".join(
        (
            bytes((FORM_NARROW_ROWS,)),
            varint(len(upper)),
            varint(len(flags)),
            *(head for head, _ in planes),
            upper,
            flags,
            *(body for _, body in planes),
            _core.pack_narrow_rows(low, zeros),
        )
    )


def decode(reader: Reader, out: Bytes, scope: Scope) -> None:
    """Fill out. Raises: CorruptError, NewerFormatError."""
    if scope.n_columns == 0 or len(out) % (4 * scope.n_columns):
        raise misfit(scope.where, f"narrow rows of {scope.n_columns} columns in a block of {len(out)} bytes")
    n_upper, n_flags = reader.varint(), reader.varint()
    heads = [read_plane_head(reader, scope) for _ in range(2)]
    upper = np.empty(len(out) // 4, np.uint16)
    decode_words(reader.bytes(n_upper), UNITS["F32"], upper.view(np.uint8), scope)
    zeros = _decode_zeros(reader.bytes(n_flags), len(upper) // scope.n_columns, scope)
    low = np.empty((len(zeros), scope.n_columns), np.uint16)
    wide = zeros == 0
    pairs = np.empty((int(wide.sum()) * scope.n_columns, 2), np.uint8)
    plane = np.empty(len(pairs), np.uint8)
    for number, (name, length) in enumerate(heads):
        decode_bytes(name, reader.bytes(length), plane, scope.where)
        pairs[:, number] = plane
    low[wide] = pairs.reshape(-1).view("<u2").reshape(-1, scope.n_columns)
    try:
        _core.unpack_narrow_rows(reader.rest_but(0), zeros, low)
    except CorruptError as exc:
        raise misfit(scope.where, str(exc)) from exc
    halves = out.reshape(-1, 2, 2)  # (elements, low and high half, bytes)
    halves[:, 0] = low.reshape(-1).view(np.uint8).reshape(-1, 2)
    halves[:, 1] = upper.view(np.uint8).reshape(-1, 2)


def _decode_zeros(flags: Bytes, n_rows: int, scope: Scope) -> npt.NDArray[np.uint8]:
    side = side_tables(scope.context)
    if side is None:
        raise misfit(scope.where, "the index lacks the side table of narrow rows")
    zeros = np.empty(n_rows, np.int32)
    try:
        used = _core.decode_integers(flags, compile_tables(side), TRAILING_ZEROS, 0, MAX_ZEROS, zeros)
    except CorruptError as exc:
        raise misfit(scope.where, str(exc)) from exc
    if used != len(flags):
        raise misfit(scope.where, f"{len(flags) - used} bytes left over behind the trailing zeros")
    return zeros.astype(np.uint8)
