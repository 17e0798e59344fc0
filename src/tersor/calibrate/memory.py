"""Giving freed memory back to the system."""

from __future__ import annotations

import ctypes
import sys
from functools import cache


def return_free_memory() -> None:
    """Return the C allocator's free pages to the system, where there is a way (glibc); elsewhere do nothing.

    Activations of many sizes leave holes: without this the walk over MiniLM peaks 60 MB higher.
    """
    trim = _malloc_trim()
    if trim is not None:
        trim(0)


@cache
def _malloc_trim() -> ctypes._CFuncPtr | None:  # type: ignore[name-defined]
    if not sys.platform.startswith("linux"):
        return None
    return getattr(ctypes.CDLL(None), "malloc_trim", None)
