"""Whether a tensor with zeros takes less as sparse/1 than as dense/1: measured on a sample of it."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from tersor.layouts.base import Context, Dense, Layout, Sparse, matrix_shape
from tersor.layouts.dense import DenseLayout
from tersor.layouts.file_tables import FileCounts
from tersor.layouts.sparse_layout import SparseLayout
from tersor.layouts.sparse_values import words_of
from tersor.types import TensorSpec

__all__ = ["Sparse", "smaller_float"]

# Zeros are looked for in runs of neighbours spread over the tensor: a look costs less than a thousandth of packing it.
_N_RUNS, _RUN = 64, 64
# Share of zeros from which a trial is worth its time. Wide floats code a zero as an escape; narrow types do so as well
# as a mask does, until runs of zeros cost them a symbol each.
_LEAST_ZEROS = {"BF16": 1 / 128, "F16": 1 / 128, "F32": 1 / 128, "F64": 1 / 128}
_LEAST_ZEROS_OF_OTHERS = 1 / 4
_BYTES = ("U8", "BOOL")  # whatever they hold, byte codecs find its repeats
_LEAST_BYTES = 1 << 12
_SAMPLE_ELEMENTS, _N_BANDS = 1 << 18, 4
# sparse/1 decodes at 1.5 GB/s (BF16, one thread), a quarter of what dense/1 does, so it must save something.
_WORTH_IT = 0.99


def smaller_float(array: npt.NDArray[Any], spec: TensorSpec, level: str = "balanced") -> Dense | Sparse:
    """Return the tensor in the form that is expected to take fewer bytes: by far most tensors are Dense.

    array: C-contiguous, of the spec's numpy_shape and numpy_dtype, of any dtype. level: as of Context.
    """
    if not _may_be_sparse(spec, array):
        return Dense(array)
    sample = _sample(array.reshape(matrix_shape(spec)))
    part = TensorSpec(spec.name, "U8" if spec.is_sub_byte else spec.dtype, sample.shape)
    sizes = [
        _n_bytes(part, Dense(sample), DenseLayout(), level),
        _n_bytes(part, Sparse(sample), SparseLayout(), level),
    ]
    return Sparse(array) if sizes[1] < _WORTH_IT * sizes[0] else Dense(array)


def _may_be_sparse(spec: TensorSpec, array: npt.NDArray[Any]) -> bool:
    """Whether enough of a tensor seems to be zero, and not all."""
    if spec.dtype in _BYTES or spec.is_sub_byte or array.nbytes < _LEAST_BYTES:
        return False
    share = _share_of_zeros(array.reshape(-1))
    least = _LEAST_ZEROS.get(spec.dtype, _LEAST_ZEROS_OF_OTHERS)
    return share >= least and (share < 1 or bool(words_of(array.reshape(-1)).any()))


def _share_of_zeros(flat: npt.NDArray[Any]) -> float:
    """Share of zeros among some of the elements."""
    looked = flat
    if flat.size > _N_RUNS * _RUN:
        begins = np.linspace(0, flat.size - _RUN, _N_RUNS).astype(np.int64)
        looked = np.concatenate([flat[begin : begin + _RUN] for begin in begins])
    return 1.0 - np.count_nonzero(words_of(looked)) / looked.size


def _sample(matrix: npt.NDArray[Any]) -> npt.NDArray[Any]:
    """Bands of rows, spread over the matrix; of a matrix of few long rows, parts of those."""
    rows, columns = matrix.shape
    if matrix.size <= _SAMPLE_ELEMENTS:
        return matrix
    n_rows = max(_SAMPLE_ELEMENTS // columns, 1)
    if n_rows < _N_BANDS:
        return np.ascontiguousarray(matrix[:n_rows, : _SAMPLE_ELEMENTS // n_rows])
    height = n_rows // _N_BANDS
    begins = np.linspace(0, rows - height, _N_BANDS).astype(np.int64)
    return np.concatenate([matrix[begin : begin + height] for begin in begins])


def _n_bytes(spec: TensorSpec, value: Dense | Sparse, layout: Layout, level: str) -> int:
    """Bytes of the blocks of a tensor in a file of its own, tables not counted."""
    counts = FileCounts()
    counts.add(spec, value)
    level = "fast" if level == "fast" else "balanced"  # what max saves, it saves of either
    context = Context(table_sets=counts.make(level), level=level)
    return sum(len(job().payload) for job in layout.encode(spec, value, context).blocks)
