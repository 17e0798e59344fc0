"""The mask of a sparse block: a bit for each element, or the gaps between kept ones (docs/format.md, sparse/1)."""

from __future__ import annotations

import numpy as np

from tersor.errors import CorruptError, NewerFormatError
from tersor.layouts.base import Context
from tersor.layouts.forms.parts import (
    BYTE_CODECS,
    Bytes,
    Reader,
    Scope,
    decode_bytes,
    encode_plane,
    misfit,
    read_plane_head,
    varint,
)
from tersor.layouts.sparse_values import Mask

BITS_BY_ROW, BITS_BY_COLUMN, GAPS = range(3)
MASK_NAMES = {BITS_BY_ROW: "bits", BITS_BY_COLUMN: "bits", GAPS: "gaps"}
# A gap takes two bytes or more where bits take one for each eight elements: with more kept than this, bits are smaller.
_MOST_KEPT_FOR_GAPS = 1 / 16
_LONGEST_GAP = 3  # bytes of a gap in a block of at most 2^20 elements


def encode_mask(mask: Mask, context: Context) -> bytes:
    """Return the smallest form of a mask (rows, columns), not empty."""
    candidates = [_bits(BITS_BY_ROW, mask, context)]
    if min(mask.shape) > 1:
        candidates.append(_bits(BITS_BY_COLUMN, mask.T, context))
    if np.count_nonzero(mask) <= _MOST_KEPT_FOR_GAPS * mask.size:
        gaps = _gap_bytes(np.flatnonzero(mask))
        head, payload = encode_plane(gaps, BYTE_CODECS, context)
        candidates.append(bytes((GAPS,)) + varint(len(gaps)) + head + payload)
    return min(candidates, key=len)


def _bits(kind: int, mask: Mask, context: Context) -> bytes:
    bits = np.packbits(mask.reshape(-1), bitorder="little")
    head, payload = encode_plane(bits, BYTE_CODECS, context)
    return bytes((kind,)) + head + payload


def _gap_bytes(places: np.ndarray) -> Bytes:
    """The number of elements left out before each kept one, as varints."""
    gaps = np.diff(places, prepend=-1) - 1
    groups = np.stack([gaps >> shift & 127 for shift in range(0, 7 * _LONGEST_GAP, 7)], axis=1)
    n_bytes = 1 + (gaps >= 1 << 7) + (gaps >= 1 << 14)
    place = np.arange(_LONGEST_GAP)
    is_used = place < n_bytes[:, None]
    groups |= np.where(place < n_bytes[:, None] - 1, 128, 0)
    return groups[is_used].astype(np.uint8)


def decode_mask(reader: Reader, shape: tuple[int, int], scope: Scope) -> Mask:
    """Return the mask of a block of this shape. Raises: CorruptError, NewerFormatError."""
    kind = reader.u8()
    if kind == GAPS:
        return _decode_gaps(reader, shape, scope)
    if kind not in (BITS_BY_ROW, BITS_BY_COLUMN):
        raise NewerFormatError(
            f"{scope.where}: mask of kind {kind}; this tersor knows 0 (bits by row), 1 (by column) and 2 (gaps)"
        )
    n_elements = shape[0] * shape[1]
    name, length = read_plane_head(reader, scope)
    bits = np.empty(-(-n_elements // 8), np.uint8)
    decode_bytes(name, reader.bytes(length), bits, scope.where)
    flags = np.unpackbits(bits, bitorder="little").view(np.bool_)
    if flags[n_elements:].any():
        raise misfit(scope.where, "bits behind the last element of a mask")
    flags = flags[:n_elements]
    return flags.reshape(shape) if kind == BITS_BY_ROW else np.ascontiguousarray(flags.reshape(shape[::-1]).T)


def _decode_gaps(reader: Reader, shape: tuple[int, int], scope: Scope) -> Mask:
    n_elements = shape[0] * shape[1]
    n_bytes = reader.varint()
    if n_bytes > _LONGEST_GAP * n_elements:
        raise misfit(scope.where, f"{n_bytes} bytes of gaps between {n_elements} elements")
    name, length = read_plane_head(reader, scope)
    data = np.empty(n_bytes, np.uint8)
    decode_bytes(name, reader.bytes(length), data, scope.where)
    gaps = _gaps_of(data, scope)
    places = np.cumsum(gaps + 1) - 1
    if len(places) and places[-1] >= n_elements:
        raise misfit(scope.where, f"gaps reach element {places[-1]} of {n_elements}")
    mask = np.zeros(n_elements, np.bool_)
    mask[places] = True
    return mask.reshape(shape)


def _gaps_of(data: Bytes, scope: Scope) -> np.ndarray:
    """The integers that varints of at most three bytes stand for, int64."""
    ends = np.flatnonzero(data < 128)
    if len(data) and (not len(ends) or ends[-1] != len(data) - 1):
        raise misfit(scope.where, "the last gap has no end")
    begins = np.concatenate([[0], ends[:-1] + 1]) if len(ends) else ends
    lengths = ends - begins + 1
    if len(lengths) and lengths.max() > _LONGEST_GAP:
        raise misfit(scope.where, f"a gap of {lengths.max()} bytes")
    if (data[ends[lengths > 1]] == 0).any():
        raise CorruptError(f"{scope.where}: a varint is too long; the file is damaged")
    gaps = np.zeros(len(ends), np.int64)
    for place in range(_LONGEST_GAP):
        used = lengths > place
        gaps[used] |= (data[begins[used] + place].astype(np.int64) & 127) << 7 * place
    return gaps
