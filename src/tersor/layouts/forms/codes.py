"""Form 5: small integers (I8, packed INT4, FP8) with entropy classes of rows and columns (docs/format.md 4.1)."""

from __future__ import annotations

from functools import cache
from math import inf

import numpy as np
import numpy.typing as npt

from tersor import _core
from tersor.errors import CorruptError, NewerFormatError
from tersor.layouts.base import Context
from tersor.layouts.forms.parts import FORM_CODES, Bytes, Reader, Scope, entropy_bits, misfit, varint
from tersor.layouts.geometry import choose_lanes, choose_streams
from tersor.layouts.tables import COLUMN_CLASSES, ROW_CLASSES, compile_tables, find_tables

INT8, UINT8, INT4, UINT4, E4M3, E5M2 = range(6)
UNITS_OF = {"I8": (INT8,), "U8": (UINT8, INT4, UINT4), "F8_E4M3": (E4M3,), "F8_E5M2": (E5M2,)}
_INT16 = (-(1 << 15), (1 << 15) - 1)
_LIMITS = {INT4: (-8, 7), UINT4: (-8, 7)}
MIN_CODES, MIN_ROW, _SAMPLE_BYTES = 1 << 12, 16, 1 << 17
_COARSE = 2  # classes that a sample counts together
ENTRY_BITS = 8.0  # of each entry of a table, see grid_tables

Codes = npt.NDArray[np.int32]
Classes = npt.NDArray[np.int32]


def codes_of(data: Bytes, unit: int) -> Codes:
    """Return the codes that bytes of any shape (rows, n) hold: (rows, n), or (rows, 2 n) of packed INT4."""
    if unit in (INT4, UINT4):  # two at a time: numpy picks single elements much faster than rows
        return _codes_of_bytes(unit).view(np.int64).reshape(-1)[data].view(np.int32).reshape(len(data), -1)
    codes: Codes = _codes_of_bytes(unit)[data]
    return codes


@cache
def _codes_of_bytes(unit: int) -> Codes:
    """The codes that each byte holds: (256,), or (256, 2) of packed INT4."""
    data = np.arange(256, dtype=np.uint8)
    if unit == INT8:
        return data.view(np.int8).astype(np.int32)
    if unit == UINT8:
        return data.astype(np.int32) - 128
    if unit in (INT4, UINT4):
        halves: Codes = np.stack((data & 15, data >> 4), axis=-1).astype(np.int32)
        return halves - 8 if unit == UINT4 else (halves ^ 8) - 8
    magnitude = (data & 127).astype(np.int32)
    negative = np.where(magnitude, -magnitude, -128)
    return np.where(data & 128, negative, magnitude).astype(np.int32)


def bytes_of(codes: Codes, unit: int) -> Bytes:
    """The reverse of `codes_of`, for codes (rows, n)."""
    if unit == INT8:
        return codes.astype(np.int8).astype(np.uint8)
    if unit == UINT8:
        return (codes + 128).astype(np.uint8)
    if unit in (INT4, UINT4):
        raised = codes + 8 if unit == UINT4 else codes & 15
        nibbles = raised.astype(np.uint8).reshape(-1)
        pairs: Bytes = nibbles[::2] | nibbles[1::2] * np.uint8(16)
        return pairs
    magnitude = np.where(codes == -128, 0, np.abs(codes))
    signed: Bytes = (magnitude | (codes < 0) << 7).astype(np.uint8)
    return signed


def classes_of(codes: Codes, unit: int) -> tuple[Classes, Classes]:
    """Return the entropy classes of rows and columns, eighths of an octave of their mean magnitudes.

    An element's class is the sum of both: columns count relative to the middle one.
    """
    magnitude = np.abs(codes)
    rows, columns = (_class_of(magnitude.mean(axis=axis), unit) for axis in (1, 0))
    return rows, columns - int(np.median(columns))


def _class_of(mean: npt.NDArray[np.float64], unit: int) -> Classes:
    per_code = {E4M3: 1, E5M2: 2}.get(unit)  # codes of these are logarithms already
    classes = 8 * np.log2(mean + 0.125) if per_code is None else mean * per_code - 128
    rounded: Classes = np.rint(classes).astype(np.int32)
    return rounded


def choose_unit(dtype: str, matrix: npt.NDArray[np.generic]) -> int | None:
    """Return the unit that codes a matrix (rows, columns) of a dtype best, judged on a sample of its rows.

    None if none of them saves anything, their tables counted, that codes for single bytes would not.
    """
    unit, share, plain = estimate(dtype, matrix, _SAMPLE_BYTES, ENTRY_BITS)
    return unit if share < plain else None


def estimate(
    dtype: str, matrix: npt.NDArray[np.generic], sample_bytes: int, entry_bits: float
) -> tuple[int, float, float]:
    """Return the best unit, the share of a matrix (rows, columns) that it takes, and that of codes for single bytes.

    The unit's share is infinite if no unit suits. entry_bits: what each entry of a table costs.
    """
    rows, columns = matrix.shape
    if dtype not in UNITS_OF or rows < 2 or columns < MIN_ROW or matrix.size < MIN_CODES:
        return 0, inf, 1.0
    step = max(matrix.nbytes // sample_bytes, 1)
    sample = np.ascontiguousarray(matrix[::step]).view(np.uint8)
    scale = rows / len(sample)
    costs = {unit: _cost(sample, unit, scale, entry_bits) for unit in UNITS_OF[dtype]}
    best = min(costs, key=lambda unit: costs[unit])
    plain = scale * entropy_bits(np.bincount(sample.reshape(-1), minlength=256))
    n_bits = 8.0 * matrix.size
    return best, costs[best] / n_bits, min(plain / n_bits, 1.0)


def _cost(sample: Bytes, unit: int, scale: float, entry_bits: float) -> float:
    """Bits of the whole matrix: of its codes by class, their tables, and the classes."""
    codes = codes_of(sample, unit)
    low = int(codes.min())
    n_values = int(codes.max()) - low + 1
    row_class, column_class = classes_of(codes, unit)
    sums = (row_class[:, None] + column_class) // _COARSE
    sums -= int(sums.min())
    n_classes = int(sums.max()) + 1
    counts = np.bincount((sums * n_values + codes - low).reshape(-1), minlength=n_classes * n_values)
    by_class = counts.reshape(n_classes, n_values)
    bits = (
        _times_log2(by_class.sum(axis=1))
        - _times_log2(by_class)
        + entropy_bits(np.bincount(row_class - row_class.min()))
    )
    return scale * bits + entry_bits * np.count_nonzero(by_class)


def _times_log2(counts: npt.NDArray[np.integer]) -> float:
    """The sum of n log2 n."""
    used = counts[counts > 0].astype(np.float64)
    return float((used * np.log2(used)).sum())


def has_code_tables(context: Context) -> bool:
    """Whether the file has tables for this form."""
    side = find_tables(context.table_sets, "side")
    return (
        find_tables(context.table_sets, "codes") is not None
        and side is not None
        and side.n_tables > COLUMN_CLASSES
    )


def encode(block: Bytes, unit: int, context: Context) -> bytes:
    """Return the form of a block (rows, columns) of bytes; the file needs tables for it."""
    tables, side = find_tables(context.table_sets, "codes"), find_tables(context.table_sets, "side")
    assert tables is not None and side is not None
    codes = codes_of(block, unit)
    row_class, column_class = classes_of(codes, unit)
    n_streams = choose_streams(codes.size)
    payload = _core.encode_codes(
        codes,
        row_class,
        column_class,
        0,
        n_streams,
        choose_lanes(codes.size, n_streams),
        compile_tables(tables),
    )
    compiled = compile_tables(side)
    return b"".join(
        (
            bytes((FORM_CODES, unit)),
            varint(codes.shape[1]),
            _core.encode_integers(row_class, compiled, ROW_CLASSES),
            _core.encode_integers(column_class, compiled, COLUMN_CLASSES),
            payload,
        )
    )


def decode(reader: Reader, out: Bytes, scope: Scope) -> None:
    """Fill out. Raises: CorruptError, NewerFormatError."""
    unit, row_length = reader.u8(), reader.varint()
    if unit > E5M2:
        raise NewerFormatError(f"{scope.where}: codes of unit {unit}; this tersor knows 0 to {E5M2}")
    n_codes = 2 * len(out) if unit in (INT4, UINT4) else len(out)
    if row_length == 0 or n_codes % row_length:
        raise misfit(scope.where, f"rows of {row_length} in {n_codes} codes")
    codes = np.empty((n_codes // row_length, row_length), np.int32)
    try:
        _decode_codes(reader.rest_but(0), codes, scope)
    except CorruptError as exc:
        raise misfit(scope.where, str(exc)) from exc
    low, high = _LIMITS.get(unit, (-128, 127))
    if codes.min() < low or codes.max() > high:
        raise misfit(scope.where, f"codes of {codes.min()} to {codes.max()}, needs {low} to {high}")
    out[...] = bytes_of(codes, unit).reshape(-1)


def _decode_codes(payload: Bytes, codes: Codes, scope: Scope) -> None:
    table_sets = scope.context.table_sets
    tables, side = find_tables(table_sets, "codes"), find_tables(table_sets, "side")
    if tables is None or side is None or side.n_tables <= COLUMN_CLASSES:
        raise CorruptError("the index lacks the tables of codes")
    row_class, column_class = (np.empty(n, np.int32) for n in codes.shape)
    for classes, table in ((row_class, ROW_CLASSES), (column_class, COLUMN_CLASSES)):
        used = _core.decode_integers(payload, compile_tables(side), table, *_INT16, classes)
        payload = payload[used:]
    _core.decode_codes(payload, row_class, column_class, 0, compile_tables(tables), codes)
