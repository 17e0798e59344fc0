"""CRC-32C of any bytes-like object."""

from __future__ import annotations

import numpy as np

from tersor import _core


def crc32c(data: bytes | memoryview) -> int:
    """Return the CRC-32C (Castagnoli) of the bytes."""
    return _core.crc32c(np.frombuffer(data, np.uint8), 0)
