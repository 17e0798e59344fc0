"""Lists of unsigned LEB128 integers: bytes in, int64 array out, checked as a whole."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np

from tersor.errors import CorruptError

_MAX_BYTES = 8  # 2**56: more than any length in a file
_FEW_BYTES = (
    48  # up to here a loop is faster than numpy's calls, 10 us in all: most tensors have a block or two
)


def encode_varints(values: Iterable[int]) -> bytes:
    """Return the values, each >= 0, as LEB128 in shortest form."""
    result = bytearray()
    for value in values:
        while value >= 128:
            result.append(value & 127 | 128)
            value >>= 7
        result.append(value)
    return bytes(result)


def decode_varints(data: bytes, count: int, what: str) -> np.ndarray:
    """Return exactly `count` values, int64.

    Raises: CorruptError if data holds more or fewer, a value of 2**56 or more, or one not in shortest form.
    """
    if len(data) <= _FEW_BYTES:
        return np.array(_decode_few(data, count, what), np.int64)
    octets = np.frombuffer(data, np.uint8)
    ends = np.flatnonzero(octets < 128)
    if ends.size != count or (octets.size and (not count or ends[-1] != octets.size - 1)):
        raise _wrong_count(what, ends.size, data, count)
    starts = np.concatenate(([0], ends[:-1] + 1))
    lengths = ends - starts + 1
    if lengths.max() > _MAX_BYTES or np.any((octets[ends] == 0) & (lengths > 1)):
        raise _bad_number(what)
    shifts = 7 * (np.arange(octets.size) - np.repeat(starts, lengths))
    return np.add.reduceat((octets & 127).astype(np.int64) << shifts, starts)


def _decode_few(data: bytes, count: int, what: str) -> list[int]:
    values: list[int] = []
    value = n_bytes = 0
    for byte in data:
        value |= (byte & 127) << (7 * n_bytes)
        n_bytes += 1
        if byte < 128:
            if n_bytes > _MAX_BYTES or (byte == 0 and n_bytes > 1):
                raise _bad_number(what)
            values.append(value)
            value = n_bytes = 0
    if len(values) != count or n_bytes:
        raise _wrong_count(what, len(values), data, count)
    return values


def _wrong_count(what: str, found: int, data: bytes, count: int) -> CorruptError:
    return CorruptError(f"{what}: {found} numbers in {len(data)} bytes, needs {count}")


def _bad_number(what: str) -> CorruptError:
    return CorruptError(f"{what}: a number is not in shortest form or reaches 2**{7 * _MAX_BYTES}")
