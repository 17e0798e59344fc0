"""numpy's .npy (one array) and .npz (a zip of them)."""

from __future__ import annotations

import re
from pathlib import Path
from typing import ClassVar

from tersor.sources.extents import Contents, ExtentFile, Place, StructureError, short
from tersor.sources.torch_pickle import ZIP_MAGIC
from tersor.sources.zip_entries import ZipEntry, read_entries
from tersor.types import TensorSpec

NPY_MAGIC = b"\x93NUMPY"
MAX_HEADER_BYTES = 10_000  # numpy's own limit
_LENGTH_BYTES = {1: 2, 2: 4, 3: 4}  # by version
_HEADER = re.compile(
    r"\s*\{\s*'descr':\s*'([<|=]?[a-zA-Z]\d+)',\s*'fortran_order':\s*(True|False),\s*'shape':\s*\(([\d, ]*)\),?\s*\}\s*"
)
_DTYPES = {
    "b1": "BOOL",
    "i1": "I8",
    "u1": "U8",
    "i2": "I16",
    "u2": "U16",
    "f2": "F16",
    "i4": "I32",
    "u4": "U32",
    "f4": "F32",
    "c8": "C64",
    "f8": "F64",
    "i8": "I64",
    "u8": "U64",
}


class NpyFile(ExtentFile):
    """The array of a .npy file, named by the file's name without its ending."""

    kind: ClassVar[str] = "npy"

    @classmethod
    def matches(cls, path: Path, head: bytes, n_bytes: int) -> bool:
        """By the suffix and the first bytes."""
        return path.suffix == ".npy" and head.startswith(NPY_MAGIC)

    def locate(self, data: memoryview) -> Contents:
        """Return where the array lies."""
        return Contents([place_array(data, self.path.stem, 0, len(data))])


class NpzFile(ExtentFile):
    """The arrays of a .npz file that are stored as they are; compressed entries are bytes of no known meaning."""

    kind: ClassVar[str] = "npz"

    @classmethod
    def matches(cls, path: Path, head: bytes, n_bytes: int) -> bool:
        """By the suffix and the first bytes of a zip file."""
        return path.suffix == ".npz" and head.startswith(ZIP_MAGIC)

    def locate(self, data: memoryview) -> Contents:
        """Return where the arrays lie."""
        entries = read_entries(data)
        return Contents([_place_entry(data, entry) for entry in entries if entry.is_stored])


def _place_entry(data: memoryview, entry: ZipEntry) -> Place:
    name = entry.name.removesuffix(".npy")
    if bytes(data[entry.begin : min(entry.begin + len(NPY_MAGIC), entry.end)]) == NPY_MAGIC:
        return place_array(data, name, entry.begin, entry.end)
    return _bytes_of(entry.name, entry.begin, entry.end)


def _bytes_of(name: str, begin: int, end: int) -> Place:
    return Place(TensorSpec(name, "U8", (end - begin,)), begin, end)


def place_array(data: memoryview, name: str, begin: int, end: int) -> Place:
    """Return where the array of the .npy file in bytes begin..end lies.

    An array in Fortran order has its dimensions reversed, so that its bytes are row-major; one whose elements no
    tensor has (big-endian, structured, objects) is U8. Raises: StructureError for a damaged header.
    """
    position = begin + len(NPY_MAGIC) + 2
    version = data[position - 2] if position <= end else 0
    if bytes(data[begin : begin + len(NPY_MAGIC)]) != NPY_MAGIC or version not in _LENGTH_BYTES:
        raise StructureError(f"array {short(name)} has no header that is known")
    header_begin = position + _LENGTH_BYTES[version]
    length = int.from_bytes(data[position:header_begin], "little")
    array_begin = header_begin + length
    if length > MAX_HEADER_BYTES or array_begin > end:
        raise StructureError(f"array {short(name)} has a header of {length} bytes, which does not fit")
    match = _HEADER.fullmatch(bytes(data[header_begin:array_begin]).decode("latin-1"))
    dtype = _DTYPES.get(match[1].lstrip("<|=")) if match else None
    if match is None or dtype is None:
        return _bytes_of(name, array_begin, end)
    sizes = [int(size) for size in match[3].replace(" ", "").split(",") if size and len(size) < 20]
    spec = TensorSpec(name, dtype, tuple(reversed(sizes) if match[2] == "True" else sizes))
    return Place(spec, array_begin, end)
