"""Chooses the form of a dense block by measured size; never larger than raw and its header."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from typing import Any

import numpy as np
import numpy.typing as npt

from tersor.codec import make_codec
from tersor.codec.constant import is_constant
from tersor.layouts import float_max
from tersor.layouts.base import Context, EncodedBlock
from tersor.layouts.dense_trials import promising_trials
from tersor.layouts.float_blocks import FloatBlocks, Memory
from tersor.layouts.float_max import PlacedModel
from tersor.layouts.float_words import UNITS, float_words
from tersor.layouts.forms import bytes as whole
from tersor.layouts.forms import float_rows, narrow_rows, planes
from tersor.layouts.forms.parts import BYTE_CODECS, Bytes
from tersor.layouts.forms.words import encode_words, has_float_tables
from tersor.layouts.geometry import choose_lanes

SAMPLE_BYTES = 1 << 15

_of_thread = threading.local()


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


def suits_float_blocks(dtype: str, context: Context) -> bool:
    """Whether blocks of a dtype are first left to compiled code, see float_blocks."""
    return dtype in UNITS and context.codec in ("auto", "rans") and has_float_tables(context)


def encode_float_block(
    dtype: str, block: npt.NDArray[Any], context: Context, placed: PlacedModel | None = None
) -> EncodedBlock | None:
    """Return a block as float rows; None if it holds no floats, or if another form may make it smaller."""
    if placed is not None and context.codec in ("auto", "rans"):
        lanes = choose_lanes(block.size, float_max.N_STREAMS)
        return float_max.encode_block(dtype, block, placed, lanes, context)
    if block.size == 0 or not suits_float_blocks(dtype, context):
        return None
    blocks = FloatBlocks(context.level)
    blocks.add_block(dtype, block)
    memory = _of_thread.__dict__.setdefault("memory", Memory())
    encoded = next(blocks.encode(context, memory=memory))[0]
    return None if encoded is None else EncodedBlock(bytes(encoded.payload), encoded.crc)


def _automatic(
    dtype: str, block: npt.NDArray[Any], data: Bytes, context: Context, placed: PlacedModel | None
) -> Iterator[bytes]:
    if dtype in UNITS:
        yield from _automatic_floats(dtype, block, data, context, placed)
    else:
        yield from (encode() for encode in promising_trials(dtype, block, context))


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


def _promising(data: Bytes, ratio: float) -> bool:
    """Whether zstd on a sample comes near `ratio`: repeated rows and the like, which float rows cannot see."""
    sample = data[len(data) // 2 :][:SAMPLE_BYTES] if len(data) > 2 * SAMPLE_BYTES else data
    return len(make_codec("zstd").encode(sample)) <= (ratio + 0.02) * len(sample)


def _plane_sample(data: Bytes, stride: int) -> Bytes:
    sample = data[: min(len(data), SAMPLE_BYTES) // stride * stride]
    return np.ascontiguousarray(sample.reshape(-1, stride).T).reshape(-1)
