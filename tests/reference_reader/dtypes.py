"""Element types (docs/format.md sections 3.5 and 4.2): their width, and how numpy holds them here."""

import math

import numpy as np

from .errors import UnsupportedError, require

# numpy has no BF16, no F8 and nothing below eight bits: those come back as unsigned integers of the same bits.
NUMPY_TYPES = {
    "BOOL": "?", "U8": "u1", "I8": "i1", "U16": "<u2", "I16": "<i2", "U32": "<u4", "I32": "<i4",
    "U64": "<u8", "I64": "<i8", "F16": "<f2", "F32": "<f4", "F64": "<f8", "C64": "<c8", "BF16": "<u2",
    "F8_E4M3": "u1", "F8_E5M2": "u1", "F8_E8M0": "u1", "F8_E4M3FNUZ": "u1", "F8_E5M2FNUZ": "u1",
}  # fmt: skip
PACKED_BITS = {"F4": 4, "F6_E2M3": 6, "F6_E3M2": 6}


def is_packed(dtype: str) -> bool:
    """Whether elements are narrower than a byte; such a tensor is a row of its packed bytes."""
    return dtype in PACKED_BITS


def numpy_type(dtype: str) -> np.dtype:
    if dtype not in NUMPY_TYPES and dtype not in PACKED_BITS:
        raise UnsupportedError(f"dtype {dtype!r} is not known")
    return np.dtype(NUMPY_TYPES.get(dtype, "u1"))


def matrix_shape(dtype: str, shape: tuple[int, ...]) -> tuple[int, int]:
    """Rows and columns of the matrix that the tensor is seen as."""
    if is_packed(dtype):
        return 1, -(-math.prod(shape) * PACKED_BITS[dtype] // 8)
    if len(shape) < 2:
        return 1, math.prod(shape)
    return math.prod(shape[:-1]), shape[-1]


def array_shape(dtype: str, shape: tuple[int, ...]) -> tuple[int, ...]:
    """The shape of the array that this reader returns."""
    return matrix_shape(dtype, shape)[1:] if is_packed(dtype) else shape


def bf16_to_float32(words: np.ndarray) -> np.ndarray:
    return (words.astype(np.uint32) << np.uint32(16)).view(np.float32)


def float32_to_bf16(values: np.ndarray) -> np.ndarray:
    """Round to nearest even, as uint16 words; a NaN stays a (quiet) NaN."""
    bits = values.astype(np.float32).view(np.uint32)
    rounded = bits + (np.uint32(0x7FFF) + (bits >> np.uint32(16) & np.uint32(1)))
    quiet = bits | np.uint32(0x400000)
    return (np.where(np.isnan(values), quiet, rounded) >> np.uint32(16)).astype(np.uint16)


def from_float32(values: np.ndarray, dtype: str) -> np.ndarray:
    """`values` in a grid tensor's dtype: F32, F64, F16 or BF16, to nearest even."""
    if dtype == "BF16":
        return float32_to_bf16(values)
    require(dtype in ("F32", "F64", "F16"), f"a grid of dtype {dtype}; F32, BF16, F16 or F64 needed")
    with np.errstate(over="ignore", under="ignore"):
        return values.astype(numpy_type(dtype))
