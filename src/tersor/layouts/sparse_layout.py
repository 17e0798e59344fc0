"""Layout `sparse/1`: a mask, and the elements that are not zero as a dense block (docs/format.md)."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import partial
from typing import Any

import numpy as np
import numpy.typing as npt

from tersor import _core
from tersor.errors import CorruptError, NewerFormatError, UsageError
from tersor.layouts.base import Context, Encoded, EncodedBlock, Sparse, matrix_shape
from tersor.layouts.dense_decode import decode_block
from tersor.layouts.dense_encode import encode_block, encode_float_block
from tersor.layouts.forms.parts import Reader, Scope
from tersor.layouts.sparse_mask import decode_mask, encode_mask
from tersor.layouts.sparse_values import (
    SPARSE_LAYOUT,
    SparseBlock,
    kept_shape,
    kept_values,
    mask_of,
    sparse_blocks,
)
from tersor.types import TensorSpec


class SparseLayout:
    """Lossless blocks of any dtype, each with its own mask, so that it decodes alone."""

    def encode(self, spec: TensorSpec, value: Any, context: Context) -> Encoded:
        if not isinstance(value, Sparse):
            raise UsageError(
                f"tensor {spec.name!r}: layout {SPARSE_LAYOUT} encodes Sparse, got {type(value).__name__}"
            )
        array = value.array
        if array.shape != spec.numpy_shape or array.dtype != spec.numpy_dtype:
            raise UsageError(
                f"tensor {spec.name!r}: array {array.dtype} {array.shape}; "
                f"needs {spec.numpy_dtype} {spec.numpy_shape} for {spec.dtype} {spec.shape}"
            )
        size, blocks = sparse_blocks(spec, array)
        jobs = _jobs(spec.dtype, blocks, context)
        return Encoded(SPARSE_LAYOUT, None, b"", 0, size.rows, size.columns, jobs)

    def matrix_shape(self, spec: TensorSpec, meta: Any) -> tuple[int, int]:
        if meta is not None:
            raise NewerFormatError(
                f"tensor {spec.name!r}: {SPARSE_LAYOUT} has no parameters, got {meta!r:.200}"
            )
        return matrix_shape(spec)

    def decoder(
        self, spec: TensorSpec, meta: Any, head: memoryview, head_crc: int, context: Context
    ) -> SparseDecoder:
        self.matrix_shape(spec, meta)
        if len(head):
            raise CorruptError(
                f"tensor {spec.name!r}: a sparse tensor has no head, found {len(head)} bytes of one"
            )
        return SparseDecoder(spec, context)


class SparseDecoder:
    """Decodes the blocks of one sparse tensor."""

    def __init__(self, spec: TensorSpec, context: Context) -> None:
        self._spec, self._context = spec, context

    def decode(
        self, payload: memoryview, crc: int, first_row: int, first_column: int, out: npt.NDArray[Any]
    ) -> None:
        where = f"tensor {self._spec.name!r}, block at row {first_row}, column {first_column}"
        block = out if out.flags.c_contiguous else np.empty(out.shape, out.dtype)
        self._fill(payload, where, block)
        got = _core.crc32c(block.reshape(-1).view(np.uint8))
        if got != crc:
            raise CorruptError(
                f"{where}: CRC-32C is {got:#010x}, the index says {crc:#010x}; the file is damaged"
            )
        if block is not out:
            out[...] = block

    def _fill(self, payload: memoryview, where: str, block: npt.NDArray[Any]) -> None:
        reader = Reader(payload, where)
        rows, columns = block.shape
        mask = decode_mask(reader, (rows, columns), Scope(self._context, where, columns, None))
        shape = kept_shape(mask)
        values = np.empty(shape, block.dtype)
        rest = reader.rest_but(0)
        data = values.reshape(-1).view(np.uint8)
        if values.size:
            decode_block(rest.data, data, self._context, where, shape[1], None)
        elif len(rest):
            raise CorruptError(f"{where}: {len(rest)} bytes of values for an empty mask; the file is damaged")
        out = block.reshape(-1).view(np.uint8)
        _core.expand_kept(mask.reshape(-1), data, block.dtype.itemsize, out)


def _jobs(
    dtype: str, blocks: Iterator[SparseBlock], context: Context
) -> Iterator[Callable[[], EncodedBlock]]:
    for block in blocks:
        yield partial(_encode_block, dtype, block.elements, context)


def _encode_block(dtype: str, part: npt.NDArray[Any], context: Context) -> EncodedBlock:
    block = np.ascontiguousarray(part)
    mask = mask_of(block)
    payload = encode_mask(mask, context) + _encode_values(dtype, kept_values(block, mask), context)
    return EncodedBlock(payload, _core.crc32c(block.reshape(-1).view(np.uint8)))


def _encode_values(dtype: str, values: npt.NDArray[Any], context: Context) -> bytes:
    """The payload of the dense block that kept elements make; nothing if there are none."""
    if values.size == 0:
        return b""
    as_floats = encode_float_block(dtype, values, context)
    return bytes(as_floats.payload) if as_floats is not None else encode_block(dtype, values, context)
