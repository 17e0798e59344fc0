"""Layout `low_rank/1`: a matrix as the product of two factors, and maybe a residual (docs/format.md 4.6).

The factors are tensors of their own beside it, in whatever layout suits them; the tensor itself stores their numbers.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from math import prod
from typing import Any

import numpy as np
import numpy.typing as npt

from tersor import _core
from tersor.errors import CorruptError, NewerFormatError, NonFiniteError, ShapeError, UsageError
from tersor.layouts.base import BlockDecoder, Context, Dense, Encoded, Sparse, matrix_shape
from tersor.layouts.grid import Grid
from tersor.types import DTYPES, TensorSpec

LOW_RANK_LAYOUT = "low_rank/1"
LEFT, RIGHT, RESIDUAL = "left", "right", "residual"
PIVOT_ROWS = "pivot rows"  # of a product of some rows only: those of `right` among them
PART_DTYPES = ("F32", "BF16", "F16")  # exact in float32, in which the product is computed
TENSOR_DTYPES = ("F32", "BF16", "F16", "F64")
_TRANSPOSED = 1

Floats = npt.NDArray[np.float32]
Part = Dense | Sparse | Grid


@dataclass(frozen=True, slots=True, eq=False)
class LowRank:
    """A matrix (rows, columns) = left (rows, rank) @ right (rank, columns), plus the residual if there is one.

    Parts: grids that are not transposed, or Dense or Sparse arrays of float32, float16 or bfloat16; rank >= 1.
    pivots: None, or int64 (rank,), rising: the rows of the matrix that `right` consists of, in order; `left` then holds
        the other rows only, (rows - rank, rank), and the parts take rank * (rows + columns - rank) numbers.
    transposed: the matrix is the transpose of the tensor's last two dimensions (GPT-2's Conv1D).
    Raises: ShapeError, NonFiniteError, UsageError (dtype of a part, a transposed part).
    """

    left: Part
    right: Part
    residual: Part | None = None
    transposed: bool = False
    pivots: npt.NDArray[np.int64] | None = None

    def __post_init__(self) -> None:
        shapes = {name: part_shape(part) for name, part in self.parts().items()}
        n_rows = check_part_shapes(shapes, "low-rank tensor", self.pivots is not None)[0]
        if self.pivots is not None:
            _check_pivots(self.pivots, self.rank, n_rows)
        for name, part in self.parts().items():
            if isinstance(part, Grid) and part.transposed:
                raise UsageError(f"low-rank tensor: part {name!r} is a transposed grid; transpose the whole")
            if part_dtype(part) not in PART_DTYPES:
                raise UsageError(
                    f"low-rank tensor: part {name!r} is {part_dtype(part)}; needs one of {', '.join(PART_DTYPES)}"
                )
            if not isinstance(part, Grid) and not np.isfinite(part_values(part)).all():
                raise NonFiniteError(
                    f"low-rank tensor: part {name!r} holds NaN or infinity; needs finite values"
                )

    @property
    def shape(self) -> tuple[int, int]:
        n_pivots = 0 if self.pivots is None else len(self.pivots)
        return part_shape(self.left)[0] + n_pivots, part_shape(self.right)[1]

    @property
    def rank(self) -> int:
        return part_shape(self.right)[0]

    def parts(self) -> dict[str, Part]:
        """The parts that exist, by name: left, right, residual."""
        found = {LEFT: self.left, RIGHT: self.right}
        return found if self.residual is None else {**found, RESIDUAL: self.residual}

    def part_specs(self, name: str) -> dict[str, TensorSpec]:
        """What the parts of a tensor `name` are called in an archive, and what they are."""
        return {
            part: TensorSpec(companion_name(name, part), part_dtype(value), part_shape(value))
            for part, value in self.parts().items()
        }

    def to_dense(self) -> Floats:
        """Return the matrix, float32 (rows, columns): the same bits on every machine."""
        parts = {name: part_values(part) for name, part in self.parts().items()}
        return product(parts, None if self.pivots is None else is_pivot(self.pivots, self.shape[0]))


@dataclass(frozen=True, slots=True, eq=False)
class Factors:
    """The parts of a low-rank tensor as float32 arrays; see `LowRank`, of whose matrix they are."""

    left: Floats
    right: Floats
    residual: Floats | None
    transposed: bool
    pivots: npt.NDArray[np.int64] | None = None

    @property
    def rank(self) -> int:
        return len(self.right)

    def whole_left(self) -> Floats:
        """The left factor of all rows, (rows, rank): those of pivots are rows of the identity."""
        if self.pivots is None:
            return self.left
        whole = np.zeros((len(self.left) + self.rank, self.rank), np.float32)
        pivot = is_pivot(self.pivots, len(whole))
        whole[pivot], whole[~pivot] = np.eye(self.rank, dtype=np.float32), self.left
        return whole


def product(parts: Mapping[str, Floats], pivot: npt.NDArray[np.bool_] | None = None) -> Floats:
    """left @ right, then + residual, float32, each sum in order of the rank.

    pivot: which of the rows wanted are pivots; those are taken from parts[PIVOT_ROWS], by default all of `right`.
    """
    left, right = (np.ascontiguousarray(parts[name], np.float32) for name in (LEFT, RIGHT))
    matrix = np.empty((left.shape[0], right.shape[1]), np.float32)
    _core.multiply_factors(left, right, matrix)
    if pivot is not None:
        others, matrix = matrix, np.empty((len(pivot), right.shape[1]), np.float32)
        matrix[~pivot], matrix[pivot] = others, parts.get(PIVOT_ROWS, right)
    if RESIDUAL in parts:
        matrix += parts[RESIDUAL]
    return matrix


def is_pivot(pivots: npt.NDArray[np.int64], n_rows: int) -> npt.NDArray[np.bool_]:
    """(n_rows,): which rows are pivots."""
    found = np.zeros(n_rows, np.bool_)
    found[pivots] = True
    return found


def companion_name(name: str, part: str) -> str:
    """The name of a part of tensor `name`, such as "encoder.weight.tersor.left"."""
    return f"{name}.tersor.{part}"


def part_shape(part: Part) -> tuple[int, ...]:
    return part.shape if isinstance(part, Grid) else part.array.shape


def part_dtype(part: Part) -> str:
    """The dtype that a part is stored with: a grid's float32 values are kept as they are."""
    if isinstance(part, Grid):
        return "F32"
    return next((name for name in PART_DTYPES if DTYPES[name][1] == part.array.dtype), str(part.array.dtype))


def part_values(part: Part) -> Floats:
    """The elements of a part as float32."""
    return part.to_dense() if isinstance(part, Grid) else part.array.astype(np.float32)


def check_part_shapes(shapes: Mapping[str, tuple[int, ...]], where: str, has_pivots: bool) -> tuple[int, int]:
    """Return (rows, columns) of the product.

    Raises: ShapeError unless left (rows, rank), of pivots (rows - rank, rank), right and residual fit each other.
    """
    for name, shape in shapes.items():
        if len(shape) != 2:
            raise ShapeError(f"{where}: {name} has shape {list(shape)}; needs two dimensions")
    (rows, rank), (inner, columns) = shapes[LEFT], shapes[RIGHT]
    if rank != inner or rank < 1:
        raise ShapeError(
            f"{where}: left is {rows} x {rank} and right is {inner} x {columns}; needs equal ranks of at least 1"
        )
    rows += rank if has_pivots else 0
    if shapes.get(RESIDUAL, (rows, columns)) != (rows, columns):
        raise ShapeError(f"{where}: residual is {list(shapes[RESIDUAL])}; needs [{rows}, {columns}]")
    return rows, columns


def _check_pivots(pivots: npt.NDArray[np.int64], rank: int, n_rows: int) -> None:
    is_sound = pivots.shape == (rank,) and (np.diff(pivots) > 0).all()
    if not is_sound or pivots[0] < 0 or pivots[-1] >= n_rows:
        raise ShapeError(f"low-rank tensor: pivots must be {rank} rising numbers below {n_rows}")


def stored_matrix(spec: TensorSpec, transposed: bool) -> tuple[int, int]:
    """(rows, columns) of the product: the tensor's matrix, or with its last two dimensions swapped.

    Raises: ShapeError if a tensor of that shape or dtype cannot be low-rank.
    """
    if spec.dtype not in TENSOR_DTYPES or len(spec.shape) < (2 if transposed else 1):
        raise ShapeError(
            f"tensor {spec.name!r}: {spec.dtype} {list(spec.shape)} cannot be low-rank; needs one of "
            f"{', '.join(TENSOR_DTYPES)} and at least {2 if transposed else 1} dimensions"
        )
    if not transposed:
        return matrix_shape(spec)
    a, b = spec.shape[-2:]
    return prod(spec.shape[:-2]) * b, a


def check_product(spec: TensorSpec, shape: tuple[int, int], transposed: bool) -> None:
    """Raise ShapeError unless a product of that shape is the matrix of the tensor."""
    needed = stored_matrix(spec, transposed)
    if shape != needed:
        raise ShapeError(
            f"tensor {spec.name!r}: product of {list(shape)}; {spec.dtype} {list(spec.shape)} "
            f"{'stored transposed ' if transposed else ''}needs {list(needed)}"
        )


@dataclass(frozen=True, slots=True)
class LowRankMeta:
    """`meta` of a low-rank tensor in the index.

    residual: None if there is none. pivots: None, or a bit for each row of the matrix, lowest first.
    """

    flags: int
    left: int
    right: int
    residual: int | None
    pivots: bytes | None

    @classmethod
    def parse(cls, meta: Any) -> LowRankMeta:
        """Return the checked meta; its pivots are checked when they are used. Raises: CorruptError."""
        is_array = isinstance(meta, list) and len(meta) >= 5
        numbers = meta[:4] if is_array and meta[3] is not None else meta[:3] if is_array else [None]
        is_sound = all(type(number) is int and number >= 0 for number in numbers)
        if not is_sound or not (meta[4] is None or isinstance(meta[4], bytes)):
            raise CorruptError(
                f"low_rank/1 with parameters {meta!r:.200}; needs [flags, left, right, residual, pivots]"
            )
        return cls(*meta[:5])

    @property
    def unknown_flags(self) -> int:
        return self.flags & ~_TRANSPOSED

    @property
    def transposed(self) -> bool:
        """Raises: NewerFormatError if a flag is set that this tersor does not know."""
        if self.unknown_flags:
            raise NewerFormatError(f"low_rank/1 with flags {self.flags:#x}; this tersor knows bit 0 only")
        return bool(self.flags & _TRANSPOSED)

    def pivot(self, n_rows: int, rank: int) -> npt.NDArray[np.bool_] | None:
        """(n_rows,): which rows are pivots, as many as the rank; None without pivots. Raises: CorruptError."""
        if self.pivots is None:
            return None
        bits = np.unpackbits(np.frombuffer(self.pivots, np.uint8), bitorder="little")
        if len(self.pivots) != -(-n_rows // 8) or bits[n_rows:].any() or bits.sum(dtype=np.int64) != rank:
            raise CorruptError(
                f"pivots of {int(bits.sum(dtype=np.int64))} rows in {len(self.pivots)} bytes; needs {rank} of {n_rows}"
            )
        return bits[:n_rows].astype(np.bool_)

    def parts(self) -> dict[str, int]:
        """The numbers of the parts that exist, by name."""
        found = {LEFT: self.left, RIGHT: self.right}
        return found if self.residual is None else {**found, RESIDUAL: self.residual}


class LowRankLayout:
    """Stores the numbers of the parts; the archive reads those and multiplies."""

    def encode(self, spec: TensorSpec, value: Any, context: Context) -> Encoded:
        """The parts must be in the archive already. Raises: UsageError, ShapeError if it does not fit the spec."""
        if not isinstance(value, LowRank):
            raise UsageError(
                f"tensor {spec.name!r}: layout low_rank/1 encodes LowRank, got {type(value).__name__}"
            )
        check_product(spec, value.shape, value.transposed)
        numbers = [
            context.tensor_numbers[companion_name(spec.name, part)] if part in value.parts() else None
            for part in (LEFT, RIGHT, RESIDUAL)
        ]
        bits = None
        if value.pivots is not None:
            bits = np.packbits(is_pivot(value.pivots, value.shape[0]), bitorder="little").tobytes()
        return Encoded(LOW_RANK_LAYOUT, [int(value.transposed), *numbers, bits], b"", 0, 0, 0, iter(()))

    def matrix_shape(self, spec: TensorSpec, meta: Any) -> tuple[int, int]:
        return matrix_shape(spec)

    def decoder(
        self, spec: TensorSpec, meta: Any, head: memoryview, head_crc: int, context: Context
    ) -> BlockDecoder:
        raise CorruptError(
            f"tensor {spec.name!r}: a low-rank tensor has no blocks of its own; the index is damaged"
        )
