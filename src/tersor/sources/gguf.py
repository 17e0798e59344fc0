"""A GGUF model (llama.cpp), versions 2 and 3: its tensors, quantized ones as their blocks."""

from __future__ import annotations

from pathlib import Path
from typing import ClassVar

from tersor.errors import NewerFormatError
from tersor.sources.extents import MAX_TENSORS, Contents, ExtentFile, Place, StructureError, short
from tersor.sources.gguf_types import BLOCK_TYPES, PLAIN_TYPES, gguf_block_fields
from tersor.types import TensorSpec

__all__ = ["GGUF_MAGIC", "GgufFile", "gguf_block_fields"]

GGUF_MAGIC = b"GGUF"
VERSIONS = (2, 3)
MAX_RANK = 4
MAX_NAME_BYTES = 1 << 16
MAX_VALUES = 1 << 22
MAX_NESTING = 8
_ALIGNMENT_KEY = "general.alignment"
_DEFAULT_ALIGNMENT = 32
_U32, _STRING, _ARRAY = 4, 8, 9
_VALUE_BYTES = {0: 1, 1: 1, 2: 2, 3: 2, 4: 4, 5: 4, 6: 4, 7: 1, 10: 8, 11: 8, 12: 8}


class GgufFile(ExtentFile):
    """The tensors of a GGUF file. Shapes are row-major: GGUF's dimensions reversed.

    A quantized tensor is U8 of shape (blocks, bytes of a block); `block_types` says of which type, by its name,
    and `gguf_block_fields(type)` what the bytes of a block mean.
    """

    kind: ClassVar[str] = "gguf"

    @classmethod
    def matches(cls, path: Path, head: bytes, n_bytes: int) -> bool:
        """By the first bytes."""
        return head.startswith(GGUF_MAGIC)

    def locate(self, data: memoryview) -> Contents:
        """Return where the tensors lie."""
        self.block_types: dict[str, str] = {}
        reader = _Reader(data)
        n_tensors = reader.begin(str(self.path))
        infos = [reader.tensor_info() for _ in range(n_tensors)]
        data_begin = -(-reader.position // reader.alignment) * reader.alignment
        return Contents([self._place(data_begin, *info) for info in infos])

    def _place(self, data_begin: int, name: str, shape: tuple[int, ...], kind: int, offset: int) -> Place:
        begin = data_begin + offset
        spec = _spec(str(self.path), name, shape, kind)
        if kind in BLOCK_TYPES:
            self.block_types[name] = BLOCK_TYPES[kind].name
        return Place(spec, begin, begin + spec.n_bytes)


def _spec(where: str, name: str, shape: tuple[int, ...], kind: int) -> TensorSpec:
    if kind in PLAIN_TYPES:
        return TensorSpec(name, PLAIN_TYPES[kind], shape)
    if kind not in BLOCK_TYPES:
        raise NewerFormatError(
            f"{where}: tensor {short(name)} has GGUF type {kind}, which this tersor does not know; upgrade tersor"
        )
    block = BLOCK_TYPES[kind]
    row = shape[-1] if shape else 1
    if row % block.n_elements:
        raise StructureError(
            f"tensor {short(name)}: rows of {row} are no multiple of the {block.n_elements} in a block"
        )
    n_blocks = row // block.n_elements
    for size in shape[:-1]:
        n_blocks *= size
    return TensorSpec(name, "U8", (n_blocks, block.n_bytes))


class _Reader:
    """Reads the head of a GGUF file; every size is checked before it is used."""

    def __init__(self, data: memoryview) -> None:
        self._data = data
        self.position = 0
        self.alignment = _DEFAULT_ALIGNMENT
        self._n_values = 0

    def begin(self, where: str) -> int:
        """Read magic, version, counts and metadata; return the number of tensors."""
        if self._take(4) != GGUF_MAGIC:
            raise StructureError("it does not start with GGUF")
        version = self._number(4)
        if version not in VERSIONS:
            raise NewerFormatError(
                f"{where}: GGUF version {version}, this tersor reads {VERSIONS} (little-endian); upgrade tersor"
            )
        n_tensors, n_entries = self._number(8), self._number(8)
        if n_tensors > MAX_TENSORS:
            raise StructureError(f"{n_tensors} tensors, at most {MAX_TENSORS} are allowed")
        self._count(n_entries)
        for _ in range(n_entries):
            self._metadata()
        return n_tensors

    def tensor_info(self) -> tuple[str, tuple[int, ...], int, int]:
        """Return (name, shape, type, offset) of the next tensor."""
        name = self._string()
        rank = self._number(4)
        if rank > MAX_RANK:
            raise StructureError(f"tensor {short(name)} has {rank} dimensions, GGUF allows {MAX_RANK}")
        shape = tuple(self._number(8) for _ in range(rank))[::-1]
        kind, offset = self._number(4), self._number(8)
        if offset % self.alignment:
            raise StructureError(
                f"tensor {short(name)} lies at {offset}, no multiple of the alignment {self.alignment}"
            )
        return name, shape, kind, offset

    def _take(self, n_bytes: int) -> bytes:
        begin = self._skip(n_bytes)
        return bytes(self._data[begin : self.position])

    def _skip(self, n_bytes: int) -> int:
        """Move over bytes; return where they begin."""
        begin = self.position
        if n_bytes > len(self._data) - begin:
            raise StructureError(f"{n_bytes} bytes at {begin} lie outside the file")
        self.position = begin + n_bytes
        return begin

    def _number(self, n_bytes: int) -> int:
        return int.from_bytes(self._take(n_bytes), "little")

    def _string(self) -> str:
        length = self._number(8)
        if length > MAX_NAME_BYTES:
            raise StructureError(f"a name of {length} bytes, at most {MAX_NAME_BYTES} are allowed")
        try:
            return self._take(length).decode("utf-8")
        except UnicodeDecodeError as exc:
            raise StructureError("a name is not UTF-8") from exc

    def _count(self, n_values: int) -> None:
        """Add to the number of values that are walked one by one, which bounds the time."""
        self._n_values += n_values
        if self._n_values > MAX_VALUES:
            raise StructureError(f"more than {MAX_VALUES} metadata values")

    def _metadata(self) -> None:
        key, kind = self._string(), self._number(4)
        if key == _ALIGNMENT_KEY and kind == _U32:
            self.alignment = self._number(4)
            if not 1 <= self.alignment <= 1 << 20:
                raise StructureError(f"alignment is {self.alignment}")
        else:
            self._skip_value(kind, 0)

    def _skip_value(self, kind: int, depth: int) -> None:
        if kind in _VALUE_BYTES:
            self._skip(_VALUE_BYTES[kind])
        elif kind == _STRING:
            self._skip(self._number(8))
        elif kind == _ARRAY and depth < MAX_NESTING:
            self._skip_array(depth)
        else:
            raise StructureError(
                f"metadata of type {kind} at {self.position} is not known, or nested too deep"
            )

    def _skip_array(self, depth: int) -> None:
        kind, length = self._number(4), self._number(8)
        if kind in _VALUE_BYTES:
            self._skip(length * _VALUE_BYTES[kind])
            return
        self._count(length)
        for _ in range(length):
            self._skip_value(kind, depth + 1)
