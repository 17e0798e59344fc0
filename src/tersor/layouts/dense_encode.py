"""Chooses the form of a dense block by measured size; never larger than raw and its header."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import numpy.typing as npt

from tersor.codec import make_codec
from tersor.codec.constant import is_constant
from tersor.layouts.base import Context
from tersor.layouts.float_max import PlacedModel
from tersor.layouts.float_words import UNIT_BYTES, UNITS, float_words
from tersor.layouts.forms import bytes as whole
from tersor.layouts.forms import codes, differences, fields, float_rows, narrow_rows, planes
from tersor.layouts.forms.parts import BYTE_CODECS, WORTH_TRYING, Bytes
from tersor.layouts.forms.words import encode_words, has_float_tables

SAMPLE_BYTES = 1 << 15
PLAIN_STRIDES = (2, 4, 8)
INTEGERS = ("I16", "U16", "I32", "U32", "I64", "U64")


def encode_block(
    dtype: str, block: npt.NDArray[Any], context: Context, placed: PlacedModel | None = None
) -> bytes:
    """Return the payload of a block (rows, columns) of a dtype, the smallest that the context's codec allows.

    placed: model of the tensor if level max codes it.
    Guarantee: at most two bytes longer than the block's bytes. Deterministic.
    """
    data = block.reshape(-1).view(np.uint8)
    if len(data) and is_constant(data):
        return whole.encode(data, ("constant",), context)
    candidates = [whole.encode(data, ("raw",), context)]
    if context.codec == "auto":
        candidates += _automatic(dtype, block, data, context, placed)
    elif context.codec == "rans" and dtype in UNITS and has_float_tables(context):
        candidates += _floats(dtype, block, context, placed)
    elif block.dtype.itemsize > 1:
        candidates.append(planes.encode(data, block.dtype.itemsize, (context.codec, "raw"), context))
    else:
        candidates.append(whole.encode(data, (context.codec, "raw"), context))
    return min(candidates, key=len)


def _automatic(
    dtype: str, block: npt.NDArray[Any], data: Bytes, context: Context, placed: PlacedModel | None
) -> Iterator[bytes]:
    size = block.dtype.itemsize
    if dtype in UNITS:
        yield from _automatic_floats(dtype, block, data, context, placed)
        return
    yield whole.encode(data, BYTE_CODECS, context)
    if size > 1:
        yield planes.encode(data, size, BYTE_CODECS, context)
    if dtype == "U8":
        yield from _trials(data, context)
        yield from _records(block, data, context)
    if dtype in INTEGERS:
        order = differences.choose_order(block.reshape(-1))
        if order is not None:
            yield differences.encode(block.reshape(-1), order, context)
    if codes.has_code_tables(context):
        unit = codes.choose_unit(dtype, block, has_tables=True)
        if unit is not None:
            yield codes.encode(block.view(np.uint8), unit, context)


def _automatic_floats(
    dtype: str, block: npt.NDArray[Any], data: Bytes, context: Context, placed: PlacedModel | None
) -> Iterator[bytes]:
    rows = list(_floats(dtype, block, context, placed)) if placed or has_float_tables(context) else []
    yield from rows
    best = min(map(len, rows)) / len(data) if rows else 1.0
    if _promising(data, best):
        yield whole.encode(data, BYTE_CODECS, context)
    if _promising(_plane_sample(data, block.dtype.itemsize), best) or not rows:
        yield planes.encode(data, block.dtype.itemsize, BYTE_CODECS, context)


def _floats(
    dtype: str, block: npt.NDArray[Any], context: Context, placed: PlacedModel | None = None
) -> Iterator[bytes]:
    """Float rows, and for F32 narrow rows: both with the same payload of words."""
    unit = UNITS[dtype]
    upper = encode_words(float_words(dtype, block).reshape(block.shape), unit, context, placed)
    yield float_rows.encode(upper, unit, block, context)
    if dtype == "F32":
        narrow = narrow_rows.encode(upper, block, context)
        if narrow is not None:
            yield narrow


def _trials(data: Bytes, context: Context) -> Iterator[bytes]:
    """Forms for bytes of unknown meaning: the stride and the float type that do best on a sample of the block."""
    middle = len(data) // 2 // 8 * 8
    sample = np.ascontiguousarray(data[middle : middle + SAMPLE_BYTES])
    sizes: dict[tuple[str, Any], int] = {}
    for stride in PLAIN_STRIDES:
        sizes["stride", stride] = len(planes.encode(sample, stride, BYTE_CODECS, context))
    if has_float_tables(context):
        for dtype, unit in UNITS.items():
            n_whole = len(sample) // UNIT_BYTES[unit] * UNIT_BYTES[unit]
            sizes["unit", dtype] = len(_loose_floats(sample[:n_whole], dtype, context))
    kind, best = min(sizes, key=lambda key: sizes[key])
    if sizes[kind, best] >= WORTH_TRYING * len(sample):
        return
    if kind == "stride":
        yield planes.encode(data, best, BYTE_CODECS, context)
        return
    n_whole = len(data) // UNIT_BYTES[UNITS[best]] * UNIT_BYTES[UNITS[best]]
    yield _loose_floats(data[:n_whole], best, context) + data[n_whole:].tobytes()


def _loose_floats(data: Bytes, dtype: str, context: Context) -> bytes:
    """Float rows of bytes that may hold floats, as one row."""
    words = np.ascontiguousarray(data).view("<u4" if dtype == "F32" else "<u2")[None, :]
    upper = encode_words(float_words(dtype, words).reshape(words.shape), UNITS[dtype], context, None)
    return float_rows.encode(upper, UNITS[dtype], words, context)


def _records(block: npt.NDArray[Any], data: Bytes, context: Context) -> Iterator[bytes]:
    """Fields, if the rows of a U8 block are records short enough."""
    rows, stride = block.shape
    if rows > 1 and fields.MIN_STRIDE <= stride <= fields.MAX_STRIDE:
        groups, share = fields.learn_groups(data, stride)
        if share < WORTH_TRYING:
            yield fields.encode(data, stride, groups, context)


def _promising(data: Bytes, ratio: float) -> bool:
    """Whether zstd on a sample comes near `ratio`: repeated rows and the like, which float rows cannot see."""
    sample = data[len(data) // 2 :][:SAMPLE_BYTES] if len(data) > 2 * SAMPLE_BYTES else data
    return len(make_codec("zstd").encode(sample)) <= (ratio + 0.02) * len(sample)


def _plane_sample(data: Bytes, stride: int) -> Bytes:
    sample = data[: min(len(data), SAMPLE_BYTES) // stride * stride]
    return np.ascontiguousarray(sample.reshape(-1, stride).T).reshape(-1)
