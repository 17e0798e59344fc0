"""The contract of a layout: how a tensor becomes a head and blocks, and how one block becomes elements again.

The archive (header, index, offsets) knows only this contract; a layout knows nothing of files.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from math import prod
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np

from tersor.types import TensorSpec

if TYPE_CHECKING:
    from tersor._core import FloatModel
    from tersor.layouts.tables import TableSet

MAX_BLOCK_ELEMENTS = 1 << 20

# (first row, first column, shape) of a rectangle of the base tensor's matrix -> its elements, C-contiguous.
BaseReader = Callable[[int, int, tuple[int, int]], np.ndarray]


@dataclass(frozen=True, slots=True)
class Dense:
    """The elements themselves. array: C-contiguous, the spec's numpy_shape and numpy_dtype."""

    array: np.ndarray


@dataclass(frozen=True, slots=True)
class Sparse:
    """The elements themselves, as Dense, stored as a mask and those that are not zero (-0.0 is not zero)."""

    array: np.ndarray


@dataclass(frozen=True, slots=True)
class Alias:
    """A tied tensor: the same values as the tensor named `target`, stored once."""

    target: str


@dataclass(frozen=True, slots=True)
class EncodedBlock:
    """One block: its payload and the CRC-32C of what it decodes to."""

    payload: bytes | memoryview
    crc: int


@dataclass(frozen=True, slots=True)
class Encoded:
    """A tensor on its way into an archive.

    layout: "name/version"; meta: msgpack-able parameters; head: bytes before the blocks (b"" if none);
    blocks: one job for each block, in the order of docs/format.md 3.1; several may run at a time, in any order.
    """

    layout: str
    meta: Any
    head: bytes
    head_crc: int
    block_rows: int
    block_columns: int
    blocks: Iterator[Callable[[], EncodedBlock]]


@dataclass(slots=True)
class Context:
    """What the blocks of one archive file share: names of byte codecs and entropy tables.

    codecs: the index's list. An encoder may append a name the first time it uses it (`codec_number`).
    table_sets: the index's table sets in order.
    tensor_numbers: name -> number of the tensors written so far (aliases refer to them).
    level, codec: what an encoder may spend and use: "fast", "balanced" or "max"; "auto" or the name of one codec.
    float_models: name -> model of the float tensors that level max codes (writers only).
    base: reads the base tensor of the delta that is decoded; set for each tensor (readers only).
    """

    codecs: list[str] = field(default_factory=list)
    table_sets: Sequence[TableSet] = ()
    tensor_numbers: dict[str, int] = field(default_factory=dict)
    level: str = "balanced"
    codec: str = "auto"
    float_models: Mapping[str, FloatModel] = field(default_factory=dict)
    base: BaseReader | None = None

    def codec_number(self, name: str) -> int:
        """Number of a codec in the index's list, appended if it is new."""
        if name not in self.codecs:
            self.codecs.append(name)
        return self.codecs.index(name)

    def next_number(self, name: str) -> int:
        """Number that `codec_number` gives a codec, or would give it, if nothing else comes first."""
        return self.codecs.index(name) if name in self.codecs else len(self.codecs)


class BlockDecoder(Protocol):
    """Decodes the blocks of one tensor; made once per tensor by `Layout.decoder`."""

    def decode(
        self, payload: memoryview, crc: int, first_row: int, first_column: int, out: np.ndarray
    ) -> None:
        """Fill `out`, a (block rows, block columns) view of the spec's dtype, and check the CRC-32C.

        Raises: CorruptError if the payload is damaged or the checksum differs; `out` is then undefined.
        """


class Layout(Protocol):
    """One stored form. Registered in `LAYOUTS` under "name/version"."""

    def encode(self, spec: TensorSpec, value: Any, context: Context) -> Encoded:
        """Encode a Dense, Grid, ... lazily: a block is made when its job is called."""

    def matrix_shape(self, spec: TensorSpec, meta: Any) -> tuple[int, int]:
        """(rows, columns) of the stored matrix, swapped if the layout stores it transposed."""

    def decoder(
        self, spec: TensorSpec, meta: Any, head: memoryview, head_crc: int, context: Context
    ) -> BlockDecoder:
        """Check meta and head (sizes first) and return the decoder of this tensor's blocks.

        Raises: CorruptError, NewerFormatError.
        """


def matrix_shape(spec: TensorSpec) -> tuple[int, int]:
    """(rows, columns) of any tensor: all dimensions but the last, and the last; packed bytes for sub-byte types."""
    if spec.is_sub_byte:
        return 1, spec.n_bytes
    if not spec.shape:
        return 1, 1
    return prod(spec.shape[:-1]), spec.shape[-1]


def n_blocks(rows: int, columns: int, block_rows: int, block_columns: int) -> int:
    """Blocks of a rows x columns matrix; 0 if it has no elements."""
    if rows == 0 or columns == 0:
        return 0
    return -(-rows // block_rows) * -(-columns // block_columns)
