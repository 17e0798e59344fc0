"""Layout `low_rank/1`: the product of two other tensors, and maybe a third added (docs/format.md 4.6)."""

from dataclasses import dataclass
from typing import Any

import numpy as np

from .dtypes import bf16_to_float32, from_float32, matrix_shape
from .errors import FormatError, UnsupportedError, require

TRANSPOSED = 1
PART_DTYPES = ("F32", "BF16", "F16")
TENSOR_DTYPES = (*PART_DTYPES, "F64")
OTHER_LAYOUTS = ("alias/1", "delta/1", "low_rank/1")


@dataclass(frozen=True)
class Parts:
    """The numbers of the parts. residual: None if there is none. pivots: numbers of rows, None if there are none."""

    flags: int
    left: int
    right: int
    residual: int | None
    pivots: list[int] | None

    def numbers(self) -> list[int]:
        return [self.left, self.right, *([] if self.residual is None else [self.residual])]


def parse_parts(record: Any, records: list[Any]) -> Parts:
    """The parts of a low-rank tensor, checked as far as the index says."""
    what, meta = f"tensor {record.name!r}", record.meta
    is_empty = not (record.stream or record.n_head or record.block_lengths or record.checksums)
    require(is_empty and record.block_rows == record.block_columns == 0, f"{what}: low-rank with data")
    require(isinstance(meta, list) and len(meta) >= 5, f"{what}: low-rank meta {meta!r}")
    numbers = meta[:3] if meta[3] is None else meta[:4]
    require(all(type(number) is int and number >= 0 for number in numbers), f"{what}: low-rank meta {meta!r}")
    require(meta[4] is None or isinstance(meta[4], bytes), f"{what}: pivots {meta[4]!r}")
    parts = Parts(*meta[:4], None if meta[4] is None else _set_bits(meta[4]))
    for number in parts.numbers():
        if number >= len(records):
            raise FormatError(f"{what}: part {number}, the file has {len(records)} tensors")
        part = records[number]
        is_alone = part.layout not in OTHER_LAYOUTS and part.dtype in PART_DTYPES
        require(is_alone, f"{what}: part {part.name!r} is {part.dtype} in {part.layout}")
        require(len(part.shape) == 2, f"{what}: part {part.name!r} of shape {part.shape}")
    (rows, rank), (inner, columns) = (records[number].shape for number in (parts.left, parts.right))
    require(rank == inner >= 1, f"{what}: ranks {rank} and {inner}")
    if parts.pivots is not None:
        rows += rank
        is_sound = len(parts.pivots) == rank and parts.pivots[-1] < rows and len(meta[4]) == -(-rows // 8)
        require(is_sound, f"{what}: {len(parts.pivots)} pivots in {len(meta[4])} bytes for rank {rank}")
    is_fit = parts.residual is None or records[parts.residual].shape == (rows, columns)
    require(is_fit, f"{what}: the residual does not fit")
    if parts.flags & ~TRANSPOSED == 0:
        require((rows, columns) == _stored_matrix(record, parts, what), f"{what}: parts of another shape")
    return parts


def multiply(record: Any, parts: Parts, arrays: list[np.ndarray | None], records: list[Any]) -> np.ndarray:
    """The tensor: sums in the order of the rank, one rounding after each operation."""
    what = f"tensor {record.name!r}"
    if parts.flags & ~TRANSPOSED:
        raise UnsupportedError(f"{what}: low-rank flags {parts.flags}")
    left, right, *residual = (_float32(arrays[number], records[number], what) for number in parts.numbers())
    total = np.zeros((len(left), right.shape[1]), np.float32)
    with np.errstate(over="ignore", under="ignore", invalid="ignore"):
        for column, row in zip(left.T, right, strict=True):
            total = total + column[:, None] * row
        if parts.pivots is not None:
            total = _with_pivots(total, right, parts.pivots)
        for missed in residual:
            total = total + missed
    values = from_float32(total, record.dtype)
    if not parts.flags & TRANSPOSED:
        return values.reshape(record.shape)
    *outer, a, b = record.shape
    return np.ascontiguousarray(values.reshape(*outer, b, a).swapaxes(-1, -2))


def _set_bits(data: bytes) -> list[int]:
    return [place for place in range(8 * len(data)) if data[place // 8] >> place % 8 & 1]


def _with_pivots(others: np.ndarray, right: np.ndarray, pivots: list[int]) -> np.ndarray:
    """All rows in order: pivots are rows of `right`."""
    total = np.empty((len(others) + len(pivots), right.shape[1]), np.float32)
    is_pivot = np.zeros(len(total), bool)
    is_pivot[pivots] = True
    total[is_pivot], total[~is_pivot] = right, others
    return total


def _stored_matrix(record: Any, parts: Parts, what: str) -> tuple[int, int]:
    is_transposed = bool(parts.flags & TRANSPOSED)
    is_possible = record.dtype in TENSOR_DTYPES and len(record.shape) >= (2 if is_transposed else 1)
    require(is_possible, f"{what}: {record.dtype} {record.shape} cannot be low-rank")
    if not is_transposed:
        return matrix_shape(record.dtype, record.shape)
    *outer, a, b = record.shape
    return matrix_shape(record.dtype, (*outer, b, a))


def _float32(array: np.ndarray | None, record: Any, what: str) -> np.ndarray:
    if array is None:
        raise UnsupportedError(f"{what}: its part {record.name!r} is not known")
    return bf16_to_float32(array) if record.dtype == "BF16" else array.astype(np.float32)
