"""Which forms are worth trying for a block of no known float type: each is estimated on a sample first."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import partial
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from tersor import _core
from tersor.codec import make_codec
from tersor.layouts.base import Context
from tersor.layouts.float_words import UNIT_BYTES, UNITS, float_words
from tersor.layouts.forms import bytes as whole
from tersor.layouts.forms import codes, differences, fields, float_rows, planes
from tersor.layouts.forms.parts import BYTE_CODECS, WORTH_TRYING, Bytes
from tersor.layouts.forms.words import encode_words, has_float_tables

SAMPLE_BYTES = 1 << 15
SLACK = 0.008  # forms that are estimated so much above the best one are tried too
SMALL_BYTES = (
    1 << 14
)  # blocks up to this are tried in every form that could suit: estimates from little data are rough
PLAIN_STRIDES = (2, 4, 8)
INTEGERS = ("I16", "U16", "I32", "U32", "I64", "U64")

Encode = Callable[[], bytes]


class Trial(NamedTuple):
    """A form for a block.

    share: of the block's bytes that it is expected to take. is_loose: it may take far less, so it is always tried.
    """

    share: float
    encode: Encode
    is_loose: bool = False


def promising_trials(dtype: str, block: npt.NDArray[Any], context: Context) -> list[Encode]:
    """Return the encoders of a block (rows, columns) that may make it smallest, raw left out."""
    trials = list(_trials(dtype, block, context))
    best = min(trial.share for trial in trials)
    limit = min(best + SLACK, WORTH_TRYING) if block.nbytes > SMALL_BYTES else np.inf
    return [trial.encode for trial in trials if trial.is_loose or trial.share <= limit]


def _trials(dtype: str, block: npt.NDArray[Any], context: Context) -> Iterator[Trial]:
    data, size = block.reshape(-1).view(np.uint8), block.dtype.itemsize
    yield _bytes(data, context)
    if size > 1:
        yield _planes(data, size, context)
    if dtype == "U8":
        yield from (_planes(data, stride, context) for stride in PLAIN_STRIDES)
        yield from _loose_floats(data, context)
        yield from _records(block, data, context)
    if dtype in INTEGERS:
        order = differences.choose_order(block.reshape(-1))
        if order is not None:
            yield Trial(1.0, partial(differences.encode, block.reshape(-1), order, context), is_loose=True)
    if codes.has_code_tables(context):
        unit, share, plain = codes.estimate(dtype, block, SAMPLE_BYTES, entry_bits=0.0)
        if share < plain:
            yield Trial(share, partial(codes.encode, block.view(np.uint8), unit, context))


def _middle(data: Bytes) -> Bytes:
    """A sample, aligned to eight bytes."""
    begin = max(len(data) - SAMPLE_BYTES, 0) // 2 // 8 * 8
    return data[begin : begin + SAMPLE_BYTES]


def _bytes(data: Bytes, context: Context) -> Trial:
    """Byte codecs; loose where zstd finds repeats, of which a sample hides more."""
    sample = _middle(data)
    order_0 = _core.plane_bits(data, 0, 1) / (8 * len(data))
    repeats = len(make_codec("zstd").encode(sample)) / len(sample)
    encode = partial(whole.encode, data, BYTE_CODECS, context)
    return Trial(min(order_0, repeats), encode, is_loose=repeats < 0.95 * order_0)


def _planes(data: Bytes, stride: int, context: Context) -> Trial:
    n_bits = sum(_core.plane_bits(data, number, stride) for number in range(stride))
    return Trial(n_bits / (8 * len(data)), partial(planes.encode, data, stride, BYTE_CODECS, context))


def _loose_floats(data: Bytes, context: Context) -> Iterator[Trial]:
    """Bytes that may hold floats: the type that does best on a sample."""
    if not has_float_tables(context) or len(data) < max(UNIT_BYTES):
        return
    sample = np.ascontiguousarray(_middle(data))
    sizes = {dtype: len(_float_rows(sample, dtype, context)) for dtype in UNITS}
    best = min(sizes, key=lambda dtype: sizes[dtype])
    yield Trial(sizes[best] / len(sample), partial(_float_rows, data, best, context))


def _float_rows(data: Bytes, dtype: str, context: Context) -> bytes:
    """Float rows of bytes as one row, and the bytes that make no whole element."""
    size = UNIT_BYTES[UNITS[dtype]]
    n_whole = len(data) // size * size
    elements = np.ascontiguousarray(data[:n_whole]).view("<u4" if dtype == "F32" else "<u2")[None, :]
    upper = encode_words(float_words(dtype, elements).reshape(elements.shape), UNITS[dtype], context, None)
    return float_rows.encode(upper, UNITS[dtype], elements, context) + data[n_whole:].tobytes()


def _records(block: npt.NDArray[Any], data: Bytes, context: Context) -> Iterator[Trial]:
    """Fields, if the rows of a block are records short enough."""
    rows, stride = block.shape
    if rows > 1 and fields.MIN_STRIDE <= stride <= fields.MAX_STRIDE:
        groups, share = fields.learn_groups(data, stride)
        yield Trial(share, partial(fields.encode, data, stride, groups, context))
