"""Plain frozen values that every stage shares: what a tensor is, what a measurement is."""

from __future__ import annotations

from dataclasses import dataclass
from math import prod

import ml_dtypes
import numpy as np

from tersor.errors import NewerFormatError

# safetensors' names -> (bits per element, numpy dtype that holds it). Sub-byte types have no numpy
# element of their own: their tensors are handled as the packed bytes that the file holds.
DTYPES: dict[str, tuple[int, np.dtype]] = {
    "BOOL": (8, np.dtype(np.bool_)),
    "U8": (8, np.dtype(np.uint8)),
    "I8": (8, np.dtype(np.int8)),
    "F4": (4, np.dtype(np.uint8)),
    "F6_E2M3": (6, np.dtype(np.uint8)),
    "F6_E3M2": (6, np.dtype(np.uint8)),
    "F8_E5M2": (8, np.dtype(ml_dtypes.float8_e5m2)),
    "F8_E4M3": (8, np.dtype(ml_dtypes.float8_e4m3fn)),
    "F8_E8M0": (8, np.dtype(ml_dtypes.float8_e8m0fnu)),
    "F8_E4M3FNUZ": (8, np.dtype(ml_dtypes.float8_e4m3fnuz)),
    "F8_E5M2FNUZ": (8, np.dtype(ml_dtypes.float8_e5m2fnuz)),
    "I16": (16, np.dtype(np.int16)),
    "U16": (16, np.dtype(np.uint16)),
    "F16": (16, np.dtype(np.float16)),
    "BF16": (16, np.dtype(ml_dtypes.bfloat16)),
    "I32": (32, np.dtype(np.int32)),
    "U32": (32, np.dtype(np.uint32)),
    "F32": (32, np.dtype(np.float32)),
    "C64": (64, np.dtype(np.complex64)),
    "F64": (64, np.dtype(np.float64)),
    "I64": (64, np.dtype(np.int64)),
    "U64": (64, np.dtype(np.uint64)),
}
FLOAT_DTYPES = frozenset({"F16", "BF16", "F32", "F64"})


@dataclass(frozen=True, slots=True)
class TensorSpec:
    """Name, element type and shape of one tensor.

    dtype: a safetensors dtype name (a key of `DTYPES`).
    shape: () is a scalar; any dimension may be 0.
    Raises: NewerFormatError for a dtype that DTYPES does not hold.
    """

    name: str
    dtype: str
    shape: tuple[int, ...]

    def __post_init__(self) -> None:
        if self.dtype not in DTYPES:
            raise NewerFormatError(
                f"tensor {self.name!r}: unknown dtype {self.dtype!r}; known: {', '.join(DTYPES)}"
            )

    @property
    def n_elements(self) -> int:
        return prod(self.shape)

    @property
    def n_bytes(self) -> int:
        """Bytes of the plain tensor; sub-byte types are packed, the last byte padded."""
        return (self.n_elements * DTYPES[self.dtype][0] + 7) // 8

    @property
    def is_sub_byte(self) -> bool:
        return DTYPES[self.dtype][0] < 8

    @property
    def numpy_dtype(self) -> np.dtype:
        return DTYPES[self.dtype][1]

    @property
    def numpy_shape(self) -> tuple[int, ...]:
        """Shape of the numpy array that holds the tensor: (n_bytes,) of uint8 for sub-byte types."""
        return (self.n_bytes,) if self.is_sub_byte else self.shape


@dataclass(frozen=True, slots=True)
class Metric:
    """One measured figure.

    n: number of independent samples behind it; stderr: standard error of `value` (0.0 if exact).
    """

    name: str
    value: float
    unit: str
    n: int
    stderr: float
    higher_is_better: bool
