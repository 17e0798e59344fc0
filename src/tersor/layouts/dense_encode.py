"""Chooses the form of a dense block by measured size: bytes, planes or float rows, never larger than raw."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from tersor import _core
from tersor.codec import make_codec
from tersor.codec.auto import encode_smallest
from tersor.codec.constant import is_constant
from tersor.layouts.base import Context
from tersor.layouts.dense_decode import FORM_BYTES, FORM_FLOAT_ROWS, FORM_PLANES
from tersor.layouts.float_words import UNIT_BYTES, UNITS, WORD_FORMAT, float_words, row_length_of
from tersor.layouts.geometry import choose_lanes, choose_streams
from tersor.layouts.tables import FLOAT_ROW_CLASSES, compile_tables, find_tables

Bytes = npt.NDArray[np.uint8]
BYTE_CODECS = ("constant", "raw", "huffman", "rans", "zstd")
# A codec that cannot save this share of a sample is not tried on the rest: its decoding time would buy nothing.
WORTH_TRYING = 0.995
SAMPLE_BYTES = 1 << 15
PLAIN_STRIDES = (2, 4, 8)
_CODER = {"balanced": 0, "fast": 1}


def encode_block(dtype: str, block: npt.NDArray[Any], context: Context) -> bytes:
    """Return the payload of a block (rows, columns) of a dtype, the smallest that the context's codec allows.

    Guarantee: at most two bytes longer than the block's bytes. Deterministic.
    """
    data = block.reshape(-1).view(np.uint8)
    if len(data) and is_constant(data):
        return _bytes_form("constant", make_codec("constant").encode(data), context)
    candidates = [_bytes_form("raw", data.tobytes(), context)]
    if context.codec == "auto":
        candidates += _automatic(dtype, block, data, context)
    elif context.codec == "rans" and dtype in UNITS and _has_float_tables(context):
        candidates.append(_float_rows(dtype, block, context))
    elif block.dtype.itemsize > 1:
        candidates.append(_planes(data, block.dtype.itemsize, (context.codec, "raw"), context))
    else:
        candidates.append(_bytes_form(*encode_smallest(data, (context.codec, "raw")), context))
    return min(candidates, key=len)


def _automatic(dtype: str, block: npt.NDArray[Any], data: Bytes, context: Context) -> list[bytes]:
    if dtype in UNITS:
        candidates = [_float_rows(dtype, block, context)] if _has_float_tables(context) else []
        best = len(candidates[0]) / len(data) if candidates else 1.0
        if _promising(data, best):
            candidates.append(_smallest_bytes(data, context))
        if _promising(_plane_sample(data, block.dtype.itemsize), best) or not candidates:
            candidates.append(_planes(data, block.dtype.itemsize, BYTE_CODECS, context))
        return candidates
    candidates = [_smallest_bytes(data, context)]
    if block.dtype.itemsize > 1:
        return [*candidates, _planes(data, block.dtype.itemsize, BYTE_CODECS, context)]
    return candidates + _trials(data, context) if dtype == "U8" else candidates


def _trials(data: Bytes, context: Context) -> list[bytes]:
    """Forms for bytes of unknown meaning: the stride and the float type that do best on a sample of the block."""
    middle = len(data) // 2 // 8 * 8
    sample = np.ascontiguousarray(data[middle : middle + SAMPLE_BYTES])
    sizes: dict[tuple[str, Any], int] = {}
    for stride in PLAIN_STRIDES:
        sizes["stride", stride] = len(_planes(sample, stride, BYTE_CODECS, context))
    if _has_float_tables(context):
        for dtype, unit in UNITS.items():
            whole = sample[: len(sample) // UNIT_BYTES[unit] * UNIT_BYTES[unit]]
            sizes["unit", dtype] = len(_float_rows(dtype, _as_words(whole, dtype), context))
    kind, best = min(sizes, key=lambda key: sizes[key])
    if sizes[kind, best] >= WORTH_TRYING * len(sample):
        return []
    if kind == "stride":
        return [_planes(data, best, BYTE_CODECS, context)]
    size = UNIT_BYTES[UNITS[best]]
    n_tail = len(data) % size
    body = _float_rows(best, _as_words(data[: len(data) - n_tail], best), context)
    return [body + data[len(data) - n_tail :].tobytes()]


def _as_words(data: Bytes, dtype: str) -> npt.NDArray[Any]:
    return np.ascontiguousarray(data).view("<u4" if dtype == "F32" else "<u2")[None, :]


def _promising(data: Bytes, ratio: float) -> bool:
    """Whether zstd on a sample comes near `ratio`: repeated rows and the like, which float rows cannot see."""
    sample = data[len(data) // 2 :][:SAMPLE_BYTES] if len(data) > 2 * SAMPLE_BYTES else data
    return len(make_codec("zstd").encode(sample)) <= (ratio + 0.02) * len(sample)


def _plane_sample(data: Bytes, stride: int) -> Bytes:
    sample = data[: min(len(data), SAMPLE_BYTES) // stride * stride]
    return np.ascontiguousarray(sample.reshape(-1, stride).T).reshape(-1)


def _bytes_form(name: str, payload: bytes, context: Context) -> bytes:
    return bytes((FORM_BYTES, context.codec_number(name))) + payload


def _smallest_bytes(data: Bytes, context: Context) -> bytes:
    return _bytes_form(*encode_smallest(data, BYTE_CODECS), context)


def _planes(data: Bytes, stride: int, names: Sequence[str], context: Context) -> bytes:
    n_tail = len(data) % stride
    planes = data[: len(data) - n_tail].reshape(-1, stride)
    heads, payloads = [bytes((FORM_PLANES, stride))], []
    for number in range(stride):
        head, payload = _plane(np.ascontiguousarray(planes[:, number]), names, context)
        heads.append(head)
        payloads.append(payload)
    return b"".join((*heads, *payloads, data[len(data) - n_tail :].tobytes()))


def _plane(plane: Bytes, names: Sequence[str], context: Context) -> tuple[bytes, bytes]:
    """Head and payload of one plane; planes that look uniform are not given to any codec."""
    tried = names if names is not BYTE_CODECS or _entropy(plane) < 8 * WORTH_TRYING else ("raw",)
    name, payload = encode_smallest(plane, tried)
    return bytes((context.codec_number(name),)) + _varint(len(payload)), payload


def _entropy(plane: Bytes) -> float:
    """Order-0 entropy of the bytes, bits per byte."""
    counts = np.bincount(plane, minlength=256)
    share = counts[counts > 0] / max(len(plane), 1)
    return float(-(share * np.log2(share)).sum())


def _has_float_tables(context: Context) -> bool:
    return find_tables(context.table_sets, _float_kind(context)) is not None


def _float_kind(context: Context) -> str:
    return "float8" if context.level == "fast" else "float12"


def _float_rows(dtype: str, block: npt.NDArray[Any], context: Context) -> bytes:
    unit = UNITS[dtype]
    words = float_words(dtype, block)
    tables, side = (
        find_tables(context.table_sets, _float_kind(context)),
        find_tables(context.table_sets, "side"),
    )
    assert tables is not None and side is not None
    n_streams = choose_streams(len(words))
    rows = _core.encode_float_rows(
        words,
        WORD_FORMAT[unit],
        _CODER[context.level],
        row_length_of(*block.shape),
        n_streams,
        choose_lanes(len(words), n_streams),
        compile_tables(tables),
        compile_tables(side),
        FLOAT_ROW_CLASSES,
    )
    start = bytes((FORM_FLOAT_ROWS, unit))
    if UNIT_BYTES[unit] == 2:
        return start + rows
    low_bytes = block.reshape(-1).view(np.uint8).reshape(-1, 4)
    planes = [_plane(np.ascontiguousarray(low_bytes[:, number]), BYTE_CODECS, context) for number in range(2)]
    return b"".join(
        (start, _varint(len(rows)), *(head for head, _ in planes), rows, *(body for _, body in planes))
    )


def _varint(value: int) -> bytes:
    out = bytearray()
    while value >= 128:
        out.append(value & 127 | 128)
        value >>= 7
    out.append(value)
    return bytes(out)
