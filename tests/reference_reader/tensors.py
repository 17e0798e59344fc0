"""Tensors of one archive file: section 3.1, and the layouts of section 4."""

import math
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from .blake3 import blake3
from .container import Container, Stream
from .crc32c import crc32c
from .cursor import Cursor
from .delta import EQUAL, Base, base_matrix, decode_delta_block, parse_meta
from .dense import decode_dense_block
from .dtypes import array_shape, from_float32, matrix_shape, numpy_type
from .errors import FormatError, UnsupportedError, require
from .float_max import Columns, read_columns
from .grid import GridMeta, block_values, read_block, read_head
from .low_rank import multiply, parse_parts
from .sparse import decode_sparse_block

MAX_RANK = 32
MAX_ELEMENTS = 1 << 48
MAX_BLOCK_ELEMENTS = 1 << 20


@dataclass(frozen=True)
class Record:
    """One Tensor of the index, checked as far as all layouts share it."""

    name: str
    dtype: str
    shape: tuple[int, ...]
    layout: str
    meta: Any
    blake3: bytes | None
    n_head: int
    block_rows: int
    block_columns: int
    block_lengths: list[int]
    checksums: list[int]
    stream: bytes


@dataclass(frozen=True)
class Block:
    """Where a block lies in the matrix, its stored bytes and its checksum."""

    rows: slice
    columns: slice
    stored: bytes
    checksum: int
    what: str

    @property
    def shape(self) -> tuple[int, int]:
        return self.rows.stop - self.rows.start, self.columns.stop - self.columns.start


def read_tensors(
    container: Container, folder: Path | None = None
) -> tuple[list[np.ndarray | None], dict[str, str], set[int]]:
    """The tensors in order (None: uses something unknown), why those are unreadable by name, and which are mere parts.

    folder: of the archive file, from which the path of its base leads.
    """
    base = None if container.base is None else Base(container.base, folder)
    records = [
        parse_record(record, stream, container)
        for record, stream in zip(container.tensors, container.streams, strict=True)
    ]
    arrays: list[np.ndarray | None] = []
    unreadable: dict[str, str] = {}
    for record in records:
        try:
            arrays.append(_decode(record, container, base))
        except UnsupportedError as exc:
            unreadable[record.name] = str(exc)
            arrays.append(None)
    parts: set[int] = set()
    for number, record in enumerate(records):
        if record.layout == "low_rank/1":
            found = parse_parts(record, records)
            parts.update(found.numbers())
            try:
                arrays[number] = multiply(record, found, arrays, records)
                _check_hash(record, arrays[number])
            except UnsupportedError as exc:
                unreadable[record.name] = str(exc)
    for number, record in enumerate(records):
        if record.layout == "alias/1":
            target = _alias_target(record, records)
            arrays[number] = arrays[target]
            if arrays[target] is None:
                unreadable[record.name] = unreadable[records[target].name]
    return arrays, unreadable, parts


def tensor_bytes(array: np.ndarray) -> bytes:
    """A tensor's elements row-major and little-endian."""
    return array.astype(array.dtype.newbyteorder("<"), copy=False).tobytes()


def parse_record(record: Any, stream: Stream, container: Container) -> Record:
    """One Tensor of the index with its stream."""
    what = f"tensor {stream.name!r}"
    require(isinstance(record, list) and len(record) >= 10, f"{what}: index entry is not an array of 10")
    dtype, shape, layout, meta, digest, n_head, block_rows, block_columns, lengths, checksums = record[:10]
    require(isinstance(dtype, str), f"{what}: dtype {dtype!r}")
    _check_shape(shape, stream, what)
    for number in (layout, n_head, block_rows, block_columns):
        require(type(number) is int and number >= 0, f"{what}: index entry has {number!r} for a number")
    require(layout < len(container.layouts), f"{what}: layout {layout} of {len(container.layouts)}")
    require(digest is None or isinstance(digest, bytes), f"{what}: BLAKE3 {digest!r}")
    require(digest is None or 16 <= len(digest) <= 32, f"{what}: BLAKE3 of {len(digest or b'')} bytes")
    require(isinstance(lengths, bytes) and isinstance(checksums, bytes), f"{what}: bin expected")
    require(len(checksums) % 4 == 0, f"{what}: checksums of {len(checksums)} bytes")
    cursor = Cursor(lengths, f"{what}: block lengths")
    block_lengths = []
    while cursor.left:
        block_lengths.append(cursor.varint())
    return Record(
        stream.name, dtype, tuple(shape), container.layouts[layout], meta, digest, n_head, block_rows,
        block_columns, block_lengths, np.frombuffer(checksums, "<u4").tolist(), stream.data,
    )  # fmt: skip


def _check_shape(shape: Any, stream: Stream, what: str) -> None:
    is_shape = isinstance(shape, list) and all(type(size) is int and size >= 0 for size in shape)
    require(is_shape and len(shape) <= MAX_RANK, f"{what}: shape {shape!r}")
    # A dimension of 0 must not excuse others that no array can have.
    n_elements = math.prod(size for size in shape if size)
    require(n_elements < MAX_ELEMENTS, f"{what}: shape {shape} has too many elements")
    n_bytes = len(stream.data)
    needed = [1, n_bytes] if shape == [n_bytes] else [n_bytes]
    require(stream.shape == needed, f"{what}: stream of shape {stream.shape}, {needed} needed")


def _decode(record: Record, container: Container, base: Base | None) -> np.ndarray | None:
    """The tensor; None for an alias, and for a low-rank tensor, whose parts come first."""
    what = f"tensor {record.name!r}"
    if record.layout == "low_rank/1":
        return None
    if record.layout == "alias/1":
        is_empty = not (record.stream or record.n_head or record.block_lengths or record.checksums)
        is_empty = is_empty and record.block_rows == 0 and record.block_columns == 0
        require(is_empty and record.blake3 is None, f"{what}: an alias with data")
        return None
    if record.layout == "dense/1":
        array = _decode_dense(record, container, what)
    elif record.layout == "sparse/1":
        array = _decode_sparse(record, container, what)
    elif record.layout == "grid/1":
        array = _decode_grid(record, container, what)
    elif record.layout == "delta/1":
        array = _decode_delta(record, container, base, what)
    else:
        raise UnsupportedError(f"{what}: layout {record.layout!r} is not known")
    _check_hash(record, array)
    return array


def _check_hash(record: Record, array: np.ndarray | None) -> None:
    if record.blake3 is not None and array is not None:
        digest = blake3(tensor_bytes(array))[: len(record.blake3)]
        require(digest == record.blake3, f"tensor {record.name!r}: the BLAKE3 hash is wrong")


def _decode_dense(record: Record, container: Container, what: str) -> np.ndarray:
    require(record.meta is None, f"{what}: dense with meta")
    element = numpy_type(record.dtype)
    matrix_size = matrix_shape(record.dtype, record.shape)
    blocks = _blocks(record, matrix_size, what)
    columns = Columns.flat(matrix_size[1])
    if record.n_head:
        columns = read_columns(record.stream[: record.n_head], matrix_size[1], container.context.sets, what)
        require(columns.checksum() == record.checksums[0], f"{what}: the checksum of the head is wrong")
    matrix = np.empty(matrix_size, element)
    for block in blocks:
        n_bytes = math.prod(block.shape) * element.itemsize
        tile = columns.tile(block.columns)
        data = decode_dense_block(block.stored, n_bytes, tile, container.context, block.what)
        require(crc32c(data) == block.checksum, f"{block.what}: the checksum is wrong")
        matrix[block.rows, block.columns] = np.frombuffer(data, element).reshape(block.shape)
    return matrix.reshape(array_shape(record.dtype, record.shape))


def _decode_sparse(record: Record, container: Container, what: str) -> np.ndarray:
    require(record.meta is None and record.n_head == 0, f"{what}: a sparse tensor with meta or a head")
    element = numpy_type(record.dtype)
    matrix_size = matrix_shape(record.dtype, record.shape)
    matrix = np.empty(matrix_size, element)
    for block in _blocks(record, matrix_size, what):
        data = decode_sparse_block(block.stored, block.shape, element.itemsize, container.context, block.what)
        require(crc32c(data) == block.checksum, f"{block.what}: the checksum is wrong")
        matrix[block.rows, block.columns] = np.frombuffer(data, element).reshape(block.shape)
    return matrix.reshape(array_shape(record.dtype, record.shape))


def _decode_delta(record: Record, container: Container, base: Base | None, what: str) -> np.ndarray:
    kind, name, digest = parse_meta(record.meta, what)
    digest = record.blake3 if kind == EQUAL else digest
    if base is None or digest is None:
        raise FormatError(f"{what}: a delta without the record of its base or the hash of its tensor")
    require(record.n_head == 0, f"{what}: a delta with a head")
    matrix_size = matrix_shape(record.dtype, record.shape)
    tensor = base.tensor(record.name if name is None else name, what)
    words = base_matrix(tensor, record, digest, matrix_size, what)
    matrix = words.copy()
    if kind == EQUAL:
        is_empty = not (record.stream or record.block_lengths or record.checksums)
        is_empty = is_empty and record.block_rows == 0 and record.block_columns == 0
        require(is_empty, f"{what}: equal to its base, but with data")
    else:
        for block in _blocks(record, matrix_size, what):
            part = np.ascontiguousarray(words[block.rows, block.columns])
            data = decode_delta_block(kind, record.dtype, block.stored, part, container.context, block.what)
            require(crc32c(data) == block.checksum, f"{block.what}: the checksum is wrong")
            matrix[block.rows, block.columns] = np.frombuffer(data, words.dtype).reshape(block.shape)
    return matrix.view(numpy_type(record.dtype)).reshape(array_shape(record.dtype, record.shape))


def _decode_grid(record: Record, container: Container, what: str) -> np.ndarray:
    meta = GridMeta.parse(record.meta, container.context, what)
    require(record.dtype in ("F32", "BF16", "F16", "F64"), f"{what}: a grid of dtype {record.dtype}")
    shape = record.shape
    if meta.is_transposed:
        require(len(shape) >= 2, f"{what}: transposed, but of rank {len(shape)}")
        shape = (*shape[:-2], shape[-1], shape[-2])
    matrix_size = matrix_shape(record.dtype, shape)
    _check_groups(record, meta, matrix_size[1], what)
    is_whole = meta.trellis_rows == 0 or record.block_rows % meta.trellis_rows == 0
    require(
        is_whole or record.block_rows >= matrix_size[0],
        f"{what}: the trellis restarts every {meta.trellis_rows} rows, blocks have {record.block_rows}",
    )
    blocks = _blocks(record, matrix_size, what)
    matrix = np.empty(matrix_size, numpy_type(record.dtype))
    if blocks:
        require(record.n_head > 0, f"{what}: a grid without head")
        head = read_head(record.stream[: record.n_head], matrix_size[1], meta, container.context, what)
        require(head.checksum() == record.checksums[0], f"{what}: the checksum of the head is wrong")
    for block in blocks:
        stored = read_block(
            block.stored, block.shape[0], block.columns, head, meta, container.context, block.what
        )
        require(stored.checksum() == block.checksum, f"{block.what}: the checksum is wrong")
        values = block_values(stored, block.columns, head, meta, block.what)
        matrix[block.rows, block.columns] = from_float32(values, record.dtype)
    array = matrix.reshape(shape)
    return np.ascontiguousarray(array.swapaxes(-1, -2)) if meta.is_transposed else array


def _check_groups(record: Record, meta: GridMeta, n_columns: int, what: str) -> None:
    if meta.group_size:
        is_divisor = n_columns % meta.group_size == 0 and record.block_columns % meta.group_size == 0
        require(
            is_divisor,
            f"{what}: groups of {meta.group_size} in {n_columns} columns, blocks of {record.block_columns}",
        )


def _blocks(record: Record, matrix_size: tuple[int, int], what: str) -> list[Block]:
    """The blocks in order; lengths, counts and sizes are checked before anything is decoded."""
    n_rows, n_columns = matrix_size
    places = _block_places(record, n_rows, n_columns, what)
    has_head = record.n_head > 0
    require(
        len(record.checksums) == len(places) + has_head,
        f"{what}: {len(record.checksums)} checksums for {len(places)} blocks and {int(has_head)} heads",
    )
    cursor = Cursor(record.stream, what)
    cursor.take(record.n_head)
    blocks = [
        Block(rows, columns, cursor.take(length), checksum, f"{what}: block {number}")
        for number, ((rows, columns), length, checksum) in enumerate(
            zip(places, record.block_lengths, record.checksums[has_head:], strict=True)
        )
    ]
    cursor.finish()
    return blocks


def _block_places(record: Record, n_rows: int, n_columns: int, what: str) -> list[tuple[slice, slice]]:
    height, width = record.block_rows, record.block_columns
    n_lengths = len(record.block_lengths)
    if n_rows * n_columns == 0:
        is_empty = not (n_lengths or height or width or record.n_head)
        require(is_empty, f"{what}: no elements, but a head or blocks")
        return []
    is_within = 0 < height <= n_rows and 0 < width <= n_columns
    require(is_within, f"{what}: blocks of {height} x {width} in {n_rows} x {n_columns}")
    require(height * width <= MAX_BLOCK_ELEMENTS, f"{what}: blocks of {height} x {width}")
    require(width % 32 == 0 or width == n_columns, f"{what}: blocks of {width} columns")
    n_blocks = -(-n_rows // height) * -(-n_columns // width)
    require(n_lengths == n_blocks, f"{what}: {n_lengths} block lengths for {n_blocks} blocks")
    return [
        (slice(row, min(row + height, n_rows)), slice(column, min(column + width, n_columns)))
        for row in range(0, n_rows, height)
        for column in range(0, n_columns, width)
    ]


def _alias_target(record: Record, records: list[Record]) -> int:
    what = f"tensor {record.name!r}"
    number = record.meta
    if type(number) is not int or not 0 <= number < len(records):
        raise FormatError(f"{what}: alias of tensor {number!r}, the file has {len(records)}")
    target = records[number]
    require(target.layout != "alias/1", f"{what}: alias of the alias {target.name!r}")
    is_same = (target.dtype, target.shape) == (record.dtype, record.shape)
    require(is_same, f"{what}: alias of {target.name!r}, which has another dtype or shape")
    return number
