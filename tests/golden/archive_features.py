"""Which parts of the format a golden archive uses, seen while the reference reader reads it."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from unittest.mock import patch

import reference_reader.codes
import reference_reader.float_max
import reference_reader.float_rows
import reference_reader.tensors
from reference_reader import read_archive
from reference_reader.container import Container, read_container
from reference_reader.cursor import Cursor
from reference_reader.dense import BYTES, CODES, DIFFERENCES, FIELDS, FLOAT_ROWS, PLANES, UNIT_F32
from reference_reader.float_rows import MAX
from reference_reader.tensors import parse_record

ENDING = ".tersor.safetensors"


def features_of(root: Path) -> set[str]:
    """Name everything that the archive in folder `root` uses."""
    found: set[str] = set()
    for path in sorted(root.rglob(f"*{ENDING}")):
        found |= _features_of_index(read_container(path.read_bytes(), path.name))
    with _watch_streams(found):
        read_archive(root)
    names = [path.name for path in root.rglob("*")]
    found |= {"shard index"} if f"model{ENDING}.index.json" in names else set()
    found |= {"several archive files"} if sum(name.endswith(ENDING) for name in names) > 1 else set()
    return found


def _features_of_index(container: Container) -> set[str]:
    found = {f"table set {record[0]}" for record in container.context.sets.records}
    for entry, stream in zip(container.tensors, container.streams, strict=True):
        record = parse_record(entry, stream, container)
        found |= {f"dtype {record.dtype}", f"layout {record.layout}", f"rank {len(record.shape)}"}
        found |= {"no elements"} if 0 in record.shape else set()
        found |= {"several blocks"} if len(record.block_lengths) > 1 else set()
        is_tiled = record.shape and 0 < record.block_columns < record.shape[-1]
        found |= {"column tiles"} if is_tiled and record.layout == "dense/1" else set()
        found |= {"stream of shape (1, n)"} if len(stream.shape) == 2 else set()
        if record.layout == "grid/1":
            found |= _grid_features(record.dtype, record.meta, record.shape, record.block_columns)
        if record.layout == "low_rank/1":
            found |= _low_rank_features(record.dtype, record.meta)
    for _, n_bytes, _, segments in container.files:
        found |= {f"segment {'bytes' if isinstance(segment, bytes) else 'tensor'}" for segment in segments}
        found |= {"empty file"} if n_bytes == 0 else set()
    return found | (_folder_features(container.folder) if container.folder else set())


def _grid_features(dtype: str, meta: list[Any], shape: tuple[int, ...], block_columns: int) -> set[str]:
    flags, _, group_size, scale_dtype, codebook_length, trellis_rows = meta
    found = {f"grid of {dtype}", "grid of trellis codes" if trellis_rows else "grid of plain codes"}
    found |= {f"grid with {scale_dtype} scales"} if group_size else set()
    found |= {"grid with a codebook"} if codebook_length else set()
    found |= {"grid, transposed"} if flags & 1 else set()
    found |= {"grid in column tiles"} if not flags & 1 and 0 < block_columns < shape[-1] else set()
    return found


def _low_rank_features(dtype: str, meta: list[Any]) -> set[str]:
    flags, _, _, residual, pivots = meta
    found = {f"low-rank of {dtype}", f"low-rank, {'transposed' if flags & 1 else 'not transposed'}"}
    found |= set() if residual is None else {"low-rank with a residual"}
    return found | (set() if pivots is None else {"low-rank with pivots"})


def _folder_features(folder: list[Any]) -> set[str]:
    is_file, _, side_files, empty_folders, lossless = folder
    found = {"archive of a file" if is_file else "archive of a folder", "lossless" if lossless else "lossy"}
    found |= {
        f"side file, {'unchanged' if content is None else 'changed'}" for _, _, _, content in side_files
    }
    return found | ({"empty folder"} if empty_folders else set())


@contextmanager
def _watch_streams(found: set[str]) -> Iterator[None]:
    """Note the forms and codecs of dense blocks, and the streams of codes and floats, while archives are read."""
    decode_dense_block = reference_reader.tensors.decode_dense_block
    read_streams = reference_reader.codes.read_streams
    with_escapes = reference_reader.float_rows._with_escapes
    tops = reference_reader.float_max._tops
    read_columns = reference_reader.tensors.read_columns
    decode_sparse_block = reference_reader.tensors.decode_sparse_block

    def watch_sparse(stored: bytes, shape: Any, n_element_bytes: int, context: Any, what: str) -> bytes:
        found.add(f"mask of kind {stored[0]}")
        return decode_sparse_block(stored, shape, n_element_bytes, context, what)

    def watch_dense(stored: bytes, n_bytes: int, columns: Any, context: Any, what: str) -> bytes:
        found.update(_dense_features(Cursor(stored, what), context))
        return decode_dense_block(stored, n_bytes, columns, context, what)

    def watch_codes(cursor: Any, table_set: Any) -> Any:
        streams = read_streams(cursor, table_set)
        found.add("codes in several streams" if len(streams) > 1 else "codes in one stream")
        found.update(f"codes in {len(stream.decoder.states)} lanes" for stream in streams)
        found.update("codes with escapes" for stream in streams if stream.escapes.left)
        found.update("codes with raw bits" for stream in streams if len(stream.raw))
        return streams

    def watch_escapes(symbols: Any, escapes: Any, coder: int, float_format: Any) -> Any:
        found.update({f"floats with escapes, coder {coder}"} if escapes.left else set())
        return with_escapes(symbols, escapes, coder, float_format)

    def watch_tops(symbols: Any, escapes: Any, float_format: Any) -> Any:
        found.update({f"floats with escapes, coder {MAX}"} if escapes.left else set())
        return tops(symbols, escapes, float_format)

    def watch_columns(head: bytes, n_columns: int, sets: Any, what: str) -> Any:
        columns = read_columns(head, n_columns, sets, what)
        found.add(f"head with {columns.n_profiles} column profiles")
        found.update(f"column of shape {shape}" for shape in columns.shapes.reshape(-1).tolist())
        return columns

    with (
        patch("reference_reader.tensors.decode_dense_block", watch_dense),
        patch("reference_reader.codes.read_streams", watch_codes),
        patch("reference_reader.float_rows._with_escapes", watch_escapes),
        patch("reference_reader.float_max._tops", watch_tops),
        patch("reference_reader.tensors.read_columns", watch_columns),
        patch("reference_reader.tensors.decode_sparse_block", watch_sparse),
    ):
        yield


def _dense_features(cursor: Cursor, context: Any) -> set[str]:
    form = cursor.u8()
    if form == BYTES:
        return {f"codec {context.codec(cursor.u8())}, form 0"}
    if form == PLANES:
        found = set()
        for _ in range(cursor.u8()):
            found.add(f"codec {context.codec(cursor.u8())}, form 1")
            cursor.varint()
        return found
    if form == FLOAT_ROWS:
        return _float_features(cursor)
    if form == FIELDS:
        return _field_features(cursor)
    if form == CODES:
        return {f"form {form}, unit {cursor.u8()}"}
    if form == DIFFERENCES:
        return {f"form {form}, {cursor.u8()} bytes", f"form {form}, order {cursor.u8()}"}
    cursor.varint(), cursor.varint()
    n_wide = 0
    for _ in range(2):
        cursor.u8()
        n_wide += cursor.varint()
    return {f"form {form}, coder {cursor.u8()}", f"form {form}, {'some' if n_wide else 'no'} wide rows"}


def _field_features(cursor: Cursor) -> set[str]:
    stride, n_groups = cursor.u8(), cursor.u8()
    found = set()
    for _ in range(n_groups):
        n_positions = cursor.u8()
        cursor.take(n_positions)
        found.add(f"form {FIELDS}, {'no ' if cursor.u8() == stride else ''}reference")
        found |= {f"form {FIELDS}, several positions"} if n_positions > 1 else set()
    return found


def _float_features(cursor: Cursor) -> set[str]:
    unit = cursor.u8()
    if unit == UNIT_F32:
        cursor.varint()
        for _ in range(2):
            cursor.u8(), cursor.varint()
    coder = cursor.u8()
    cursor.u8(), cursor.varint()  # shape class, base
    if coder != MAX:
        cursor.varint()  # row length
    n_streams, log2_lanes = cursor.u8(), cursor.u8()
    found = {f"float unit {unit}, coder {coder}", f"floats in {1 << log2_lanes} lanes, coder {coder}"}
    return found | ({f"floats in several streams, coder {coder}"} if n_streams > 1 else set())
