"""Lists of unsigned LEB128 integers: bytes in, int64 array out, checked as a whole."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np

from tersor.errors import CorruptError

_MAX_BYTES = 8  # 2**56: more than any length in a file


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
    octets = np.frombuffer(data, np.uint8)
    ends = np.flatnonzero(octets < 128)
    if ends.size != count or (octets.size and (not count or ends[-1] != octets.size - 1)):
        raise CorruptError(f"{what}: {ends.size} numbers in {octets.size} bytes, needs {count}")
    if not count:
        return np.zeros(0, np.int64)
    starts = np.concatenate(([0], ends[:-1] + 1))
    lengths = ends - starts + 1
    if lengths.max() > _MAX_BYTES or np.any((octets[ends] == 0) & (lengths > 1)):
        raise CorruptError(f"{what}: a number is not in shortest form or reaches 2**{7 * _MAX_BYTES}")
    shifts = 7 * (np.arange(octets.size) - np.repeat(starts, lengths))
    return np.add.reduceat((octets & 127).astype(np.int64) << shifts, starts)
