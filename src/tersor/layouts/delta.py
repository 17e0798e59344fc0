"""Layout `delta/1`: what changed of a tensor of another model, the base (docs/format.md 4.4).

This module knows no files: whoever decodes puts a function into the context that reads rectangles of the base tensor.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
import numpy.typing as npt

from tersor import _core
from tersor.errors import CorruptError, NewerFormatError, UsageError
from tersor.layouts.base import BaseReader, Context, Encoded, EncodedBlock, matrix_shape
from tersor.layouts.delta_blocks import decode_delta_block, encode_delta_block
from tersor.layouts.delta_words import DIFFERENCE, EQUAL, XOR
from tersor.layouts.forms.parts import Scope
from tersor.layouts.geometry import DENSE_BLOCK_ELEMENTS, choose_blocks
from tersor.types import TensorSpec

DELTA_LAYOUT = "delta/1"
_KINDS = (EQUAL, DIFFERENCE, XOR)


@dataclass(frozen=True, slots=True)
class Delta:
    """A tensor and the base tensor that it is stored against.

    array, base: C-contiguous, the spec's numpy_shape and numpy_dtype. kind: EQUAL, DIFFERENCE or XOR.
    base_name: the base tensor's name, None if it is the tensor's own; base_digest: its BLAKE3, cut as in the index.
    """

    array: npt.NDArray[Any]
    base: npt.NDArray[Any]
    kind: int
    base_name: str | None
    base_digest: bytes


@dataclass(frozen=True, slots=True)
class DeltaMeta:
    """Parameters of the layout. base_digest: None if equal, as it is then the tensor's own."""

    kind: int
    base_name: str | None
    base_digest: bytes | None

    @classmethod
    def parse(cls, meta: Any) -> DeltaMeta:
        """Return the checked meta. Raises: CorruptError, NewerFormatError."""
        if not isinstance(meta, list) or len(meta) < 3 or type(meta[0]) is not int:
            raise CorruptError(f"delta/1 with parameters {meta!r:.200}; needs [kind, base name, base hash]")
        kind, name, digest = meta[:3]
        if kind not in _KINDS:
            raise NewerFormatError(
                f"delta of kind {kind}; this tersor knows 0 (equal), 1 (difference) and 2 (XOR)"
            )
        has_digest = isinstance(digest, bytes) and 16 <= len(digest) <= 32
        is_sound = digest is None if kind == EQUAL else has_digest
        if not is_sound or not (name is None or isinstance(name, str)):
            raise CorruptError(f"delta/1 with parameters {meta!r:.200}; needs [kind, base name, base hash]")
        return cls(kind, name, digest)


class DeltaLayout:
    """Blocks of differences, each element's from the element at its place in the base tensor."""

    def encode(self, spec: TensorSpec, value: Any, context: Context) -> Encoded:
        if not isinstance(value, Delta):
            raise UsageError(
                f"tensor {spec.name!r}: layout delta/1 encodes Delta, got {type(value).__name__}"
            )
        for array in (value.array, value.base):
            if array.shape != spec.numpy_shape or array.dtype != spec.numpy_dtype:
                raise UsageError(
                    f"tensor {spec.name!r}: array {array.dtype} {array.shape}; "
                    f"needs {spec.numpy_dtype} {spec.numpy_shape} for {spec.dtype} {spec.shape}"
                )
        if value.kind == EQUAL:
            return Encoded(DELTA_LAYOUT, [EQUAL, value.base_name, None], b"", 0, 0, 0, iter(()))
        blocks = choose_blocks(*matrix_shape(spec), DENSE_BLOCK_ELEMENTS)
        meta = [value.kind, value.base_name, value.base_digest]
        return Encoded(DELTA_LAYOUT, meta, b"", 0, blocks.rows, blocks.columns, _blocks(spec, value, context))

    def matrix_shape(self, spec: TensorSpec, meta: Any) -> tuple[int, int]:
        return matrix_shape(spec)

    def decoder(
        self, spec: TensorSpec, meta: Any, head: memoryview, head_crc: int, context: Context
    ) -> DeltaDecoder:
        parsed = DeltaMeta.parse(meta)
        if len(head):
            raise CorruptError(f"tensor {spec.name!r}: a delta has no head, found {len(head)} bytes of one")
        if context.base is None:
            raise UsageError(f"tensor {spec.name!r}: is stored as a difference; needs its base")
        return DeltaDecoder(spec, parsed.kind, context, context.base)


class DeltaDecoder:
    """Decodes the blocks of one tensor. read_base: (first row, first column, shape) -> that part of the base."""

    def __init__(
        self,
        spec: TensorSpec,
        kind: int,
        context: Context,
        read_base: BaseReader,
    ) -> None:
        self._spec, self._kind, self._context, self._read_base = spec, kind, context, read_base

    def decode(
        self, payload: memoryview, crc: int, first_row: int, first_column: int, out: npt.NDArray[Any]
    ) -> None:
        base = self._read_base(first_row, first_column, (out.shape[0], out.shape[1]))
        if self._kind == EQUAL:
            out[...] = base
            return
        where = f"tensor {self._spec.name!r}, block at row {first_row}, column {first_column}"
        scope = Scope(self._context, where, out.shape[1], None)
        words = decode_delta_block(self._kind, self._spec.dtype, payload, base, scope)
        got = _core.crc32c(np.ascontiguousarray(words).reshape(-1).view(np.uint8))
        if got != crc:
            raise CorruptError(
                f"{where}: CRC-32C is {got:#010x}, the index says {crc:#010x}; the file is damaged"
            )
        out[...] = words.view(out.dtype)


def _blocks(spec: TensorSpec, value: Delta, context: Context) -> Iterator[Callable[[], EncodedBlock]]:
    rows, columns = matrix_shape(spec)
    blocks = choose_blocks(rows, columns, DENSE_BLOCK_ELEMENTS)
    array, base = value.array.reshape(rows, columns), value.base.reshape(rows, columns)
    for row in range(0, rows, max(blocks.rows, 1)):
        for column in range(0, columns, max(blocks.columns, 1)):
            place = slice(row, row + blocks.rows), slice(column, column + blocks.columns)
            yield partial(_encode_block, spec.dtype, value.kind, array[place], base[place], context)


def _encode_block(
    dtype: str, kind: int, part: npt.NDArray[Any], base: npt.NDArray[Any], context: Context
) -> EncodedBlock:
    block = np.ascontiguousarray(part)
    payload = encode_delta_block(kind, dtype, block, np.ascontiguousarray(base), context)
    return EncodedBlock(payload, _core.crc32c(block.reshape(-1).view(np.uint8)))
