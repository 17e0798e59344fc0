"""Form 6: integers as zigzag values, or differences to the element before, in byte planes (docs/format.md 4.1)."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from tersor import _core
from tersor.layouts.base import Context
from tersor.layouts.forms.parts import BYTE_CODECS, FORM_DIFFERENCES, Bytes, Reader, Scope, misfit
from tersor.layouts.forms.planes import decode_body, encode_body

WIDTHS = (2, 4, 8)
VALUES, DIFFERENCES = 0, 1
SAMPLE_ELEMENTS = 1 << 14

Integers = npt.NDArray[Any]


def transform(values: Integers, order: int) -> Integers:
    """Return zigzag(value) or zigzag(value - value before), modulo the width, as unsigned integers."""
    unsigned = values.view(f"<u{values.itemsize}")
    if order == DIFFERENCES:
        unsigned = np.diff(unsigned, prepend=unsigned.dtype.type(0))
    signs = unsigned.view(f"<i{values.itemsize}") >> (8 * values.itemsize - 1)  # 0 or -1
    zigzag: Integers = (unsigned << 1) ^ signs.view(unsigned.dtype)
    return zigzag


def restore(zigzag: Integers, order: int) -> Integers:
    """Return the unsigned integers that `transform` was given."""
    one = zigzag.dtype.type(1)
    unsigned: Integers = (zigzag >> one) ^ (~(zigzag & one) + one)
    if order == DIFFERENCES:
        np.cumsum(unsigned, out=unsigned, dtype=unsigned.dtype)
    return unsigned


def choose_order(values: Integers) -> int | None:
    """Return the order whose planes have fewest bits on a sample; None if the values themselves do no worse."""
    sample = values[len(values) // 2 :][:SAMPLE_ELEMENTS] if len(values) > 2 * SAMPLE_ELEMENTS else values
    costs = {order: _plane_bits(transform(sample, order)) for order in (VALUES, DIFFERENCES)}
    best = min(costs, key=lambda order: costs[order])
    return best if costs[best] < _plane_bits(sample) else None


def _plane_bits(values: Integers) -> float:
    data, width = values.view(np.uint8), values.itemsize
    return sum(_core.plane_bits(data, number, width) for number in range(width))


def encode(values: Integers, order: int, context: Context) -> bytes:
    """Return the form of integers of 2, 4 or 8 bytes, in one dimension."""
    data = transform(values, order).view(np.uint8)
    start = bytes((FORM_DIFFERENCES, values.itemsize, order))
    return start + encode_body(data, values.itemsize, BYTE_CODECS, context)


def decode(reader: Reader, out: Bytes, scope: Scope) -> None:
    """Fill out. Raises: CorruptError, NewerFormatError."""
    width, order = reader.u8(), reader.u8()
    if width not in WIDTHS or order not in (VALUES, DIFFERENCES) or len(out) % width:
        raise misfit(scope.where, f"differences of order {order}, {width} bytes each, in {len(out)} bytes")
    zigzag = np.empty(len(out), np.uint8)
    decode_body(reader, width, zigzag, scope)
    out[...] = restore(zigzag.view(f"<u{width}"), order).view(np.uint8)
