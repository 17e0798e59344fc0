"""One block of a delta: the differences from the base, grouped by the exponent of the base (docs/format.md 4.4).

An update moves all weights of a row about equally far, so its size in units of the last place goes with the exponent
of the weight that is moved: within a group one byte of the difference holds all that can be predicted, the bits below
it are noise.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from typing import Any

import numpy as np
import numpy.typing as npt

from tersor.layouts.base import Context
from tersor.layouts.delta_words import (
    DIFFERENCE,
    EXPONENTS,
    Words,
    apply_differences,
    as_words,
    differences,
    exponents,
)
from tersor.layouts.forms.parts import (
    BYTE_CODECS,
    Reader,
    Scope,
    decode_bytes,
    encode_plane,
    misfit,
    read_plane_head,
    varint,
)

# A group pays about 100 bytes for its table; smaller ones share that of their neighbours.
MIN_GROUP_ELEMENTS = 2048
# Differences beyond the predicted byte: so few that the bytes above it cost next to nothing.
_BEYOND_SHARE = 0.002
# Octaves between the updates of the rows of a block from which on rows are grouped too.
_WORTH_OCTAVES = 2

Bytes = npt.NDArray[np.uint8]
Planes = list[tuple[str, int]]


def encode_delta_block(kind: int, dtype: str, block: Words, base: Words, context: Context) -> bytes:
    """Return the payload of a block. block, base: arrays (rows, columns) of the dtype."""
    base_words = as_words(base)
    stored = differences(kind, dtype, as_words(block), base_words)
    flat = np.zeros(len(stored), np.uint8)
    candidates = [_encode(kind, dtype, stored, base_words, flat, context)]
    classes = _row_classes(dtype, stored, base_words)
    if int(classes.max()) >= _WORTH_OCTAVES:
        candidates.append(_encode(kind, dtype, stored, base_words, classes, context))
    return min(candidates, key=len)


def decode_delta_block(kind: int, dtype: str, payload: memoryview, base: Words, scope: Scope) -> Words:
    """Return the words (rows, columns) of a block. base: array of the dtype. Raises: CorruptError, NewerFormatError."""
    reader = Reader(payload, scope.where)
    words = as_words(base)
    classes = np.empty(len(words), np.uint8)
    name, length = read_plane_head(reader, scope)
    decode_bytes(name, reader.bytes(length), classes, scope.where)
    heads = _read_heads(reader, words, scope)
    order = np.argsort(_keys(dtype, words, classes), kind="stable")
    stored, begin = np.empty(words.size, words.dtype), 0
    for n, raw_bits, planes in heads:
        group = _decode_group(reader, n, raw_bits, planes, words.dtype, scope.where)
        stored[order[begin : begin + n]] = group - _bias(kind, raw_bits, words.dtype)
        begin += n
    reader.expect_end()
    return apply_differences(kind, dtype, stored.reshape(words.shape), words)


def _encode(kind: int, dtype: str, stored: Words, base: Words, classes: Bytes, context: Context) -> bytes:
    keys = _keys(dtype, base, classes)
    order = np.argsort(keys, kind="stable")
    in_order, bounds = stored.reshape(-1)[order], _bounds(keys[order])
    head, payload = encode_plane(classes, _codecs(context), context)
    heads, bodies = [head, payload, varint(len(bounds) - 1)], []
    for begin, end in pairwise(bounds):
        head, body = _encode_group(kind, in_order[begin:end], context)
        heads.append(varint(end - begin) + head)
        bodies.append(body)
    return b"".join((*heads, *bodies))


def _codecs(context: Context) -> Sequence[str]:
    return BYTE_CODECS if context.codec == "auto" else (context.codec, "raw")


def _keys(dtype: str, base: Words, classes: Bytes) -> Words:
    """Return what the elements are sorted by, flat: row class, then exponent of the base."""
    width = EXPONENTS.get(dtype, (0, 0))[1]
    keys = (classes.astype(np.uint32) << width)[:, None] + exponents(dtype, base)
    # Narrow keys are sorted by radix, many times faster.
    return keys.reshape(-1).astype(np.uint16) if int(keys.max(initial=0)) < 1 << 16 else keys.reshape(-1)


def _row_classes(dtype: str, stored: Words, base: Words) -> Bytes:
    """Return how far the rows moved in octaves, the stillest row 0."""
    # Whole octaves: a logarithm would differ from machine to machine, and the file with it.
    octaves = np.frexp(_magnitude(stored).astype(np.float64))[1] + exponents(dtype, base).astype(np.int64)
    rounded = np.rint(octaves.sum(axis=1) / octaves.shape[1])
    classes: Bytes = np.minimum(rounded - rounded.min(), 31).astype(np.uint8)
    return classes


def _magnitude(stored: Words) -> Words:
    """The absolute value of two's complement numbers."""
    smaller: Words = np.minimum(stored, ~stored + stored.dtype.type(1))
    return smaller


def _bounds(keys: npt.NDArray[np.integer]) -> list[int]:
    """Return where groups begin, and the end: at new keys, but with MIN_GROUP_ELEMENTS between them."""
    bounds = [0]
    for begin in (np.flatnonzero(keys[1:] != keys[:-1]) + 1).tolist():
        if begin - bounds[-1] >= MIN_GROUP_ELEMENTS and len(keys) - begin >= MIN_GROUP_ELEMENTS:
            bounds.append(begin)
    return [*bounds, len(keys)]


def _raw_bits(kind: int, stored: Words) -> int:
    """Return how many low bits to store as they are: nearly all values then fit into the byte above them."""
    sizes = _magnitude(stored) if kind == DIFFERENCE else stored
    place = len(sizes) - 1 - int(len(sizes) * _BEYOND_SHARE)
    n_bits = int(np.partition(sizes, place)[place]).bit_length()
    return min(max(n_bits - (7 if kind == DIFFERENCE else 8), 0), 8 * stored.itemsize - 8)


def _bias(kind: int, raw_bits: int, dtype: np.dtype[Any]) -> Any:
    """What is added to a difference so that small ones of either sign have zeros in all upper bytes."""
    return dtype.type(1 << (raw_bits + 7) if kind == DIFFERENCE else 0)


def _columns(words: Words) -> Bytes:
    """The bytes of each word, lowest first: (n, width)."""
    return words.view(np.uint8).reshape(len(words), -1)


def _n_planes(dtype: np.dtype[Any], raw_bits: int) -> int:
    return (8 * dtype.itemsize - raw_bits + 7) // 8


def _encode_group(kind: int, stored: Words, context: Context) -> tuple[bytes, bytes]:
    """Return the head of a group without its count, and its body: low bits, then planes of the upper ones."""
    raw_bits = _raw_bits(kind, stored)
    biased = stored + _bias(kind, raw_bits, stored.dtype)
    upper = _columns(biased >> biased.dtype.type(raw_bits))
    heads, bodies = [bytes((raw_bits,))], [_low_bits(biased, raw_bits)]
    for number in range(_n_planes(stored.dtype, raw_bits)):
        head, payload = encode_plane(np.ascontiguousarray(upper[:, number]), _codecs(context), context)
        heads.append(head)
        bodies.append(payload)
    return b"".join(heads), b"".join(bodies)


def _low_bits(words: Words, raw_bits: int) -> bytes:
    """Return the low bits of all words: whole bytes plane by plane, then the rest as a bit stream."""
    n_whole, n_left = divmod(raw_bits, 8)
    columns = _columns(words)
    parts = [columns[:, number].tobytes() for number in range(n_whole)]
    if n_left:
        rest = np.ascontiguousarray(columns[:, n_whole])[:, None]
        bits = np.unpackbits(rest, axis=1, count=n_left, bitorder="little")
        parts.append(np.packbits(bits.reshape(-1), bitorder="little").tobytes())
    return b"".join(parts)


def _read_heads(reader: Reader, words: Words, scope: Scope) -> list[tuple[int, int, Planes]]:
    """Return count, raw bits and planes of each group; the counts add up to the block."""
    heads: list[tuple[int, int, Planes]] = []
    n_left = words.size
    for _ in range(reader.varint()):
        n, raw_bits = reader.varint(), reader.u8()
        if not 0 < n <= n_left or raw_bits > 8 * words.itemsize - 8:
            raise misfit(
                scope.where, f"a group of {n} elements where {n_left} are left, {raw_bits} bits of them raw"
            )
        n_left -= n
        planes = [read_plane_head(reader, scope) for _ in range(_n_planes(words.dtype, raw_bits))]
        heads.append((n, raw_bits, planes))
    if n_left:
        raise misfit(scope.where, f"{n_left} elements in no group")
    return heads


def _decode_group(
    reader: Reader, n: int, raw_bits: int, planes: Planes, dtype: np.dtype[Any], where: str
) -> Words:
    low = _read_low_bits(reader, n, raw_bits, dtype, where)
    upper = np.zeros((n, dtype.itemsize), np.uint8)
    plane = np.empty(n, np.uint8)
    for number, (name, length) in enumerate(planes):
        decode_bytes(name, reader.bytes(length), plane, where)
        upper[:, number] = plane
    words = upper.reshape(-1).view(dtype)
    if int(words.max()).bit_length() + raw_bits > 8 * dtype.itemsize:
        raise misfit(where, f"a difference of more than {8 * dtype.itemsize} bits")
    whole: Words = words << dtype.type(raw_bits) | low
    return whole


def _read_low_bits(reader: Reader, n: int, raw_bits: int, dtype: np.dtype[Any], where: str) -> Words:
    n_whole, n_left = divmod(raw_bits, 8)
    columns = np.zeros((n, dtype.itemsize), np.uint8)
    for number in range(n_whole):
        columns[:, number] = reader.bytes(n)
    if n_left:
        bits = np.unpackbits(reader.bytes((n * n_left + 7) // 8), bitorder="little")
        if bits[n * n_left :].any():
            raise misfit(where, "bits behind the end of a bit stream are set")
        wide = np.zeros((n, 8), np.uint8)
        wide[:, :n_left] = bits[: n * n_left].reshape(n, n_left)
        columns[:, n_whole] = np.packbits(wide.reshape(-1), bitorder="little")
    return columns.reshape(-1).view(dtype)
