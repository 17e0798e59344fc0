"""Streams that wait in a nameless file until the header that precedes them can be written."""

from __future__ import annotations

import errno
import os
import shutil
from typing import BinaryIO

_COPY_BYTES = 1 << 20
# Errors of copy_file_range that mean "copy it yourself".
_NO_KERNEL_COPY = (errno.EXDEV, errno.EINVAL, errno.ENOSYS, errno.EOPNOTSUPP, errno.EPERM)


def append_file(source: BinaryIO, out: BinaryIO) -> None:
    """Append the whole of a file to another, inside the kernel where it can (no second copy in memory)."""
    out.flush()
    source.flush()
    source.seek(0)
    remaining = os.fstat(source.fileno()).st_size
    if hasattr(os, "copy_file_range"):
        try:
            while remaining:
                copied = os.copy_file_range(source.fileno(), out.fileno(), min(remaining, 1 << 30))
                if not copied:
                    break
                remaining -= copied
        except OSError as exc:
            if exc.errno not in _NO_KERNEL_COPY:
                raise
        os.lseek(out.fileno(), 0, os.SEEK_END)
    shutil.copyfileobj(source, out, _COPY_BYTES)
