"""What this process has used."""

from __future__ import annotations

import ctypes
import resource
import sys

# Of glibc's malloc.h.
_M_TRIM_THRESHOLD, _M_MMAP_THRESHOLD = -1, -3
_LARGE_BYTES = 1 << 18


def peak_rss_bytes() -> int:
    """Return the most memory that this process has held."""
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if sys.platform == "darwin" else peak * 1024


def return_freed_memory() -> None:
    """Make malloc give large blocks back to the system when they are freed, for the whole process.

    glibc raises its limit for "large" up to 32 MB as a program goes; a heap full of holes then stays until the end:
    90 MB more at the peak of compressing MiniLM (benchmarks/memory.py). Costs page faults. Does nothing under other
    C libraries.
    """
    if not sys.platform.startswith("linux"):
        return
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
    if mallopt is not None:
        mallopt(_M_MMAP_THRESHOLD, _LARGE_BYTES)
        mallopt(_M_TRIM_THRESHOLD, _LARGE_BYTES)
