"""Layout `dense/1`: the elements themselves, each block in the form that makes it smallest (docs/format.md 4.1)."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from functools import partial
from typing import Any

import numpy as np
import numpy.typing as npt

from tersor import _core
from tersor.errors import CorruptError, NewerFormatError, UsageError
from tersor.layouts.base import Context, Dense, Encoded, EncodedBlock, matrix_shape
from tersor.layouts.dense_decode import compiled_tables, decode_block
from tersor.layouts.dense_encode import encode_block, encode_float_block
from tersor.layouts.float_max import Columns, PlacedModel, decode_head, encode_head
from tersor.layouts.geometry import DENSE_BLOCK_ELEMENTS, Blocks, choose_blocks
from tersor.layouts.tables import find_tables
from tersor.types import TensorSpec


class DenseLayout:
    """Lossless blocks: byte codecs, byte planes, or float rows with the file's tables."""

    def encode(
        self,
        spec: TensorSpec,
        value: Any,
        context: Context,
        done: Sequence[EncodedBlock | None] | None = None,
    ) -> Encoded:
        """See Layout. done: the blocks as dense_batch has made them; None for one that is still to be tried."""
        if not isinstance(value, Dense):
            raise UsageError(
                f"tensor {spec.name!r}: layout dense/1 encodes Dense, got {type(value).__name__}"
            )
        array = value.array
        if array.shape != spec.numpy_shape or array.dtype != spec.numpy_dtype:
            raise UsageError(
                f"tensor {spec.name!r}: array {array.dtype} {array.shape}; "
                f"needs {spec.numpy_dtype} {spec.numpy_shape} for {spec.dtype} {spec.shape}"
            )
        rows, columns = matrix_shape(spec)
        blocks = choose_blocks(rows, columns, DENSE_BLOCK_ELEMENTS)
        return Encoded(
            "dense/1",
            None,
            *_head(spec, context),
            blocks.rows,
            blocks.columns,
            _blocks(spec, array.reshape(rows, columns), blocks, context, done),
        )

    def matrix_shape(self, spec: TensorSpec, meta: Any) -> tuple[int, int]:
        if meta is not None:
            raise NewerFormatError(f"tensor {spec.name!r}: dense/1 has no parameters, got {meta!r}")
        return matrix_shape(spec)

    def decoder(
        self, spec: TensorSpec, meta: Any, head: memoryview, head_crc: int, context: Context
    ) -> DenseDecoder:
        columns = self.matrix_shape(spec, meta)[1]
        if not len(head):
            return DenseDecoder(spec, context, None)
        where = f"tensor {spec.name!r}, head"
        if spec.n_elements == 0:
            raise CorruptError(f"{where}: has no elements but {len(head)} bytes of head")
        side = find_tables(context.table_sets, "side")
        return DenseDecoder(spec, context, decode_head(head, head_crc, columns, side, where))


class DenseDecoder:
    """Decodes the blocks of one dense tensor."""

    def __init__(self, spec: TensorSpec, context: Context, columns: Columns | None) -> None:
        self._spec, self._context, self._columns = spec, context, columns

    def compiled(
        self,
        matrix: tuple[int, int],
        blocks: tuple[int, int],
        offsets: npt.NDArray[np.int64],
        checksums: npt.NDArray[np.uint32],
    ) -> _core.DenseTensor:
        """Return the decoder of the same blocks that takes many at a time, but not every form.

        matrix, blocks: (rows, columns) of the tensor, at least one, and of a block. offsets: where the blocks begin
            and where the last one ends.
        It does not say why it leaves a block, damaged or of a rare form: `decode` does.
        """
        columns = self._columns
        return _core.DenseTensor(
            compiled_tables(self._context),
            *matrix,
            self._spec.numpy_dtype.itemsize,
            *blocks,
            offsets,
            checksums,
            None if columns is None else columns.scale,
            None if columns is None else columns.shape,
        )

    def decode(
        self, payload: memoryview, crc: int, first_row: int, first_column: int, out: npt.NDArray[Any]
    ) -> None:
        where = f"tensor {self._spec.name!r}, block at row {first_row}, column {first_column}"
        block = out if out.flags.c_contiguous else np.empty(out.shape, out.dtype)
        data = block.reshape(-1).view(np.uint8)
        columns = None if self._columns is None else self._columns.tile(first_column, out.shape[1])
        decode_block(payload, data, self._context, where, out.shape[1], columns)
        got = _core.crc32c(data)
        if got != crc:
            raise CorruptError(
                f"{where}: CRC-32C is {got:#010x}, the index says {crc:#010x}; the file is damaged"
            )
        if block is not out:
            out[...] = block


def _blocks(
    spec: TensorSpec,
    matrix: npt.NDArray[Any],
    blocks: Blocks,
    context: Context,
    done: Sequence[EncodedBlock | None] | None,
) -> Iterator[Callable[[], EncodedBlock]]:
    rows, columns = matrix.shape
    model = context.float_models.get(spec.name)
    finished = iter(done or ())
    for row in range(0, rows if columns else 0, blocks.rows or 1):
        for column in range(0, columns, blocks.columns):
            block = next(finished, None)
            if block is not None:
                yield _Finished(block)
                continue
            part = matrix[row : row + blocks.rows, column : column + blocks.columns]
            placed = PlacedModel(model, row, column) if model is not None else None
            yield partial(_encode_block, spec.dtype, part, context, placed, done is not None)


class _Finished:
    """A job whose result is known."""

    __slots__ = ("_block",)

    def __init__(self, block: EncodedBlock) -> None:
        self._block = block

    def __call__(self) -> EncodedBlock:
        return self._block


def _head(spec: TensorSpec, context: Context) -> tuple[bytes, int]:
    """The head of a tensor that level max codes; of others none."""
    model = context.float_models.get(spec.name)
    side = None if model is None else find_tables(context.table_sets, "side")
    return (b"", 0) if model is None or side is None else encode_head(model, side)


def _encode_block(
    dtype: str, part: npt.NDArray[Any], context: Context, placed: PlacedModel | None, tried: bool
) -> EncodedBlock:
    """tried: that float rows alone will not do is known."""
    block = np.ascontiguousarray(part)
    encoded = None if tried else encode_float_block(dtype, block, context, placed)
    return encoded or EncodedBlock(
        encode_block(dtype, block, context, placed), _core.crc32c(block.reshape(-1).view(np.uint8))
    )
