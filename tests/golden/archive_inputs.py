"""What goes into the golden archives: the same bytes on every machine and with every version of numpy."""

from __future__ import annotations

import hashlib
import json
from typing import Any

import ml_dtypes
import numpy as np

from tersor.layouts import Grid, LowRank
from tersor.types import DTYPES, TensorSpec


def noise(seed: str, n_bytes: int) -> np.ndarray:
    """Uniform bytes (n_bytes,), from SHAKE-256: numpy does not promise that its generators stay as they are."""
    return np.frombuffer(hashlib.shake_256(seed.encode()).digest(n_bytes), np.uint8)


def bell(seed: str, *shape: int) -> np.ndarray:
    """int64 with a bell-shaped distribution: mean 0, standard deviation 209."""
    n = int(np.prod(shape, dtype=np.int64))
    return noise(seed, 8 * n).reshape(n, 8).sum(axis=1, dtype=np.int64).reshape(shape) - 1020


def small_integers(seed: str, shape: tuple[int, ...], dtype: str) -> np.ndarray:
    """Few different values, so that every codec makes them smaller."""
    return (np.abs(bell(seed, *shape)) // 60).astype(DTYPES[dtype][1])


def weights(seed: str, shape: tuple[int, ...], dtype: str) -> np.ndarray:
    """Bell-shaped floats, each row with a scale of its own."""
    n_columns = shape[-1]
    fine = noise(seed + " low bits", 2 * int(np.prod(shape))).view("<u2").reshape(shape).astype(np.int64)
    values = (bell(seed, *shape) * 65536 + fine).astype(np.float32)
    scales = 2.0 ** (np.arange(values.size // n_columns) % 7 - 32)
    return (values.reshape(-1, n_columns) * scales[:, None].astype(np.float32)).reshape(shape).astype(
        DTYPES[dtype][1]
    )  # fmt: skip


def skewed_columns(seed: str, shape: tuple[int, int]) -> np.ndarray:
    """BF16 whose columns have means from far below to far above zero, and scales of their own."""
    n_columns = shape[1]
    means = (np.arange(n_columns) - n_columns // 2) * 60
    scales = 2.0 ** (np.arange(n_columns) % 5 - 16)
    return ((bell(seed, *shape) + means) * scales).astype(np.float32).astype(BFLOAT16)


def with_odd_floats(array: np.ndarray) -> np.ndarray:
    """The array with NaNs of both kinds and signs, infinities, zeros, subnormals and extremes scattered over it."""
    bits = array.reshape(-1).view(f"<u{array.dtype.itemsize}").copy()
    sign = 1 << (8 * array.dtype.itemsize - 1)
    infinity = int(np.array(np.inf, array.dtype).view(bits.dtype))
    odd = [0, 1, 5, infinity - 1, infinity, infinity + 1, sign - 1]
    for place, pattern in enumerate([*odd, *(sign | pattern for pattern in odd)]):
        bits[(place * 37 + 5) % bits.size] = pattern
    return bits.view(array.dtype).reshape(array.shape)


def any_array(spec: TensorSpec) -> np.ndarray:
    """Uniform bits of any dtype; booleans are 0 or 1."""
    bits = noise(spec.name, spec.n_bytes).copy()
    bits = bits & 1 if spec.dtype == "BOOL" else bits
    return bits.view(spec.numpy_dtype).reshape(spec.numpy_shape)


def narrow_weights(seed: str, shape: tuple[int, int]) -> np.ndarray:
    """F32 weights: every third row exact in F16, every fifth in BF16, the others full."""
    array = weights(seed, shape, "F32")
    array[::3] = (array[::3] * 2**10).astype(np.float16).astype(np.float32)
    array[::5] = array[::5].astype(BFLOAT16).astype(np.float32)
    return array


def records(seed: str, n: int) -> np.ndarray:
    """U8 (n, 20): two 16-bit floats, the second about -8 times the first, then 32 halves of bytes."""
    scale = (1 + noise(seed + " scale", n) / 64).astype("<f2")
    least = (scale.astype(np.float32) * -(7 + noise(seed + " least", n) / 128)).astype("<f2")
    values = np.clip(bell(seed, n, 32) // 90 + 8, 0, 15).astype(np.uint8)
    packed = values[:, :16] | values[:, 16:] << 4
    return np.concatenate(
        [scale.view(np.uint8).reshape(n, 2), least.view(np.uint8).reshape(n, 2), packed], axis=1
    )


def small_codes(seed: str, shape: tuple[int, int], greatest: int) -> np.ndarray:
    """int64 codes up to +-greatest; rows, and a little columns, differ in scale."""
    columns = np.arange(shape[1])
    scale = greatest / 400 / 2.0 ** (noise(seed + " rows", shape[0])[:, None] % 7) * (1 + columns % 3)
    return np.clip(np.rint(bell(seed, *shape) * scale), -greatest, greatest).astype(np.int64)


def packed_halves(codes: np.ndarray) -> np.ndarray:
    """U8: codes of four bits two by two, the first in the low half."""
    halves = (codes & 15).astype(np.uint8)
    return halves[:, ::2] | halves[:, 1::2] << 4


def grid(seed: str, rows: int, columns: int, *, spread: int = 2, **options: Any) -> Grid:
    """A grid of codes about as wide as `spread`, two of them far outside; options: those of Grid.

    scale_dtype: of the scales, where group_size is given.
    """
    codes = (bell(seed, rows, columns) * spread // 256).astype(np.int32)
    if "codebook" in options:
        codes = (np.abs(codes) % len(options["codebook"])).astype(np.int32)
    elif codes.size:
        codes[0, 0], codes[-1, -1] = 70_001, -100_000
    group_size, scale_dtype = options.get("group_size", 0), options.pop("scale_dtype", np.float32)
    if group_size:
        groups = (rows, columns // group_size)
        options["group_scales"] = (bell(seed + " scales", *groups) / 1024).astype(scale_dtype)
        options["zero_points"] = (bell(seed + " zero points", *groups) // 100).astype(np.int32)
        options["zero_points"][0, 0] = 40_000
    return Grid(
        codes=codes,
        row_exponents=(noise(seed + " rows", rows) % 9).astype(np.int16) - np.int16(30),
        column_exponents=(noise(seed + " columns", columns) % 5).astype(np.int16) - np.int16(2),
        row_classes=(noise(seed + " row classes", rows) % 3).astype(np.int16)
        + np.int16(4 * spread.bit_length()),
        column_classes=(noise(seed + " column classes", columns) % 3).astype(np.int16) - np.int16(1),
        **options,
    )


ROOTS = (1.0, 1.18920707702636718750, 1.41421353816986083984, 1.68179285526275634766)
NEXT_STATE = ((0, 2), (5, 7), (1, 3), (6, 4), (2, 0), (4, 6), (3, 1), (7, 5))


def grid_tensor(spec: TensorSpec, value: Grid) -> np.ndarray:
    """The tensor that a grid stands for: docs/format.md 4.2 term by term, no code of tersor's."""
    values = _levels(value).astype(np.float32)
    with np.errstate(over="ignore"):
        if value.group_size:
            groups = np.arange(values.shape[1]) // value.group_size
            values = values - np.asarray(value.zero_points, np.float32)[:, groups]
            values = values * np.asarray(value.group_scales).astype(np.float32)[:, groups]
        exponents = value.row_exponents.astype(int)[:, None] + value.column_exponents.astype(int)
        steps = np.array(ROOTS, np.float32)[exponents % 4] * np.float32(2) ** (exponents // 4).astype(
            np.float32
        )
        matrix = (values * steps).astype(spec.numpy_dtype)
    if not value.transposed:
        return matrix.reshape(spec.shape)
    stored_shape = (*spec.shape[:-2], spec.shape[-1], spec.shape[-2])
    return np.ascontiguousarray(matrix.reshape(stored_shape).swapaxes(-1, -2))


def low_rank_tensor(spec: TensorSpec, value: LowRank) -> np.ndarray:
    """The tensor that factors stand for: docs/format.md 4.6 term by term, no code of tersor's."""
    parts = {
        name: grid_tensor(TensorSpec(name, "F32", part.shape), part)
        if isinstance(part, Grid)
        else part.array.astype(np.float32)
        for name, part in value.parts().items()
    }
    others = np.zeros((len(parts["left"]), parts["right"].shape[1]), np.float32)
    for column, row in zip(parts["left"].T, parts["right"], strict=True):
        others = others + column[:, None] * row
    rows = iter(others)
    pivots = {} if value.pivots is None else dict(zip(value.pivots.tolist(), parts["right"], strict=True))
    n_rows = len(others) + len(pivots)
    matrix = np.array([pivots[row] if row in pivots else next(rows) for row in range(n_rows)])
    matrix = (matrix + parts["residual"] if "residual" in parts else matrix).astype(spec.numpy_dtype)
    if not value.transposed:
        return matrix.reshape(spec.shape)
    stored_shape = (*spec.shape[:-2], spec.shape[-1], spec.shape[-2])
    return np.ascontiguousarray(matrix.reshape(stored_shape).swapaxes(-1, -2))


def _levels(value: Grid) -> np.ndarray:
    if value.codebook is not None:
        return np.asarray(value.codebook)[value.codes]
    if not value.trellis_rows:
        return value.codes
    levels = np.empty(value.codes.shape, np.int64)
    for column in range(levels.shape[1]):
        state = 0
        for row, code in enumerate(value.codes[:, column].tolist()):
            state = state if row % value.trellis_rows else 0
            sign = (code > 0) - (code < 0)
            levels[row, column] = 2 * code - (sign if state % 2 else 0)
            state = NEXT_STATE[state][code % 2]
    return levels


def safetensors(tensors: dict[TensorSpec, np.ndarray], metadata: dict[str, str] | None = None) -> bytes:
    """The bytes of a plain safetensors file."""
    header: dict[str, Any] = {"__metadata__": metadata} if metadata else {}
    end = 0
    for spec in tensors:
        header[spec.name] = {
            "dtype": spec.dtype,
            "shape": list(spec.shape),
            "data_offsets": [end, end + spec.n_bytes],
        }
        end += spec.n_bytes
    text = json.dumps(header, separators=(",", ":")).encode()
    text += b" " * (-len(text) % 8)
    return len(text).to_bytes(8, "little") + text + b"".join(array.tobytes() for array in tensors.values())


BFLOAT16 = np.dtype(ml_dtypes.bfloat16)
