"""Reading tersor's own .npy and .npz work files, in any thread.

numpy.load parses an array's header as Python source. In CPython 3.11 and 3.12 that raises SystemError ("AST constructor
recursion depth mismatch") now and then while other threads run, so here the header is matched instead.
"""

from __future__ import annotations

import re
import zipfile
from math import prod
from pathlib import Path
from typing import IO, Literal

import numpy as np

_MAGIC = b"\x93NUMPY"
_HEADER = re.compile(
    rb"\{'descr': '([<>|=][biufc?][0-9]{0,2})', 'fortran_order': (True|False), 'shape': \(([0-9, ]*)\), \} *\n"
)
_MAX_HEADER_BYTES = 1 << 12


def read_npy(path: Path, *, mapped: bool = False) -> np.ndarray:
    """The array that `numpy.save` wrote: numbers, of any shape. mapped: read-only, memory-mapped.

    Raises: ValueError if it is no such file.
    """
    with open(path, "rb") as file:
        dtype, order, shape = _read_header(file, str(path))
        offset = file.tell()
    n_elements: int = prod(shape)
    n_bytes = path.stat().st_size - offset
    if n_bytes != n_elements * dtype.itemsize:
        raise ValueError(f"{path}: {n_bytes} bytes of elements do not make {shape} {dtype}")
    if mapped and n_elements:
        return np.memmap(path, dtype, "r", offset, shape, order)
    return np.fromfile(path, dtype, offset=offset).reshape(shape, order=order)


def read_npz(path: Path) -> dict[str, np.ndarray]:
    """The arrays that `numpy.savez` wrote, by name. Raises: ValueError, zipfile.BadZipFile."""
    found = {}
    with zipfile.ZipFile(path) as archive:
        for entry in archive.infolist():
            with archive.open(entry) as file:
                dtype, order, shape = _read_header(file, f"{path}:{entry.filename}")
                data = bytearray(file.read())
            if len(data) != prod(shape) * dtype.itemsize:
                raise ValueError(
                    f"{path}:{entry.filename}: {len(data)} bytes of elements do not make {shape} {dtype}"
                )
            found[entry.filename.removesuffix(".npy")] = np.frombuffer(data, dtype).reshape(
                shape, order=order
            )
    return found


def _read_header(file: IO[bytes], where: str) -> tuple[np.dtype, Literal["C", "F"], tuple[int, ...]]:
    """(dtype, "C" or "F", shape); the file is then at the first element."""
    start = file.read(10)
    n_bytes = int.from_bytes(start[8:10], "little")
    if start[:8] != _MAGIC + b"\x01\x00" or n_bytes > _MAX_HEADER_BYTES:
        raise ValueError(f"{where}: is no .npy file of version 1.0")
    match = _HEADER.fullmatch(file.read(n_bytes))
    if match is None:
        raise ValueError(f"{where}: its .npy header is none of an array of numbers")
    shape = tuple(int(part) for part in match[3].split(b",") if part.strip())
    return np.dtype(match[1].decode()), "F" if match[2] == b"True" else "C", shape
