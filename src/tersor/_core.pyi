"""Compiled coders and loops of tersor."""

from typing import Annotated

import numpy
from numpy.typing import NDArray


def crc32c(data: Annotated[NDArray[numpy.uint8], dict(shape=(None,), order='C', device='cpu', writable=False)], previous: int = 0) -> int:
    """CRC-32C of uint8 data, continued from `previous`."""

class TableSet:
    """Entropy tables of one file, docs/format.md 5.3."""

    def __init__(self, symbols: int, precision: int, raw_bits: bytes, frequencies: bytes, first_class: int, class_map: bytes) -> None: ...

    def __len__(self) -> int: ...

def pack_frequencies(frequencies: Annotated[NDArray[numpy.uint16], dict(shape=(None, None), order='C', device='cpu', writable=False)]) -> bytes:
    """The bit stream of a table set's frequencies (tables, symbols)."""

def normalize(counts: Annotated[NDArray[numpy.uint64], dict(shape=(None,), order='C', device='cpu', writable=False)], precision: int, frequencies: Annotated[NDArray[numpy.uint16], dict(shape=(None,), order='C', device='cpu')]) -> None:
    """Fill frequencies that add up to 2**precision."""

def count_float_rows(words: Annotated[NDArray[numpy.uint16], dict(shape=(None,), order='C', device='cpu', writable=False)], unit: int, row_length: int, stride: int, balanced: Annotated[NDArray[numpy.uint64], dict(shape=(None, None), order='C', device='cpu')], fast: Annotated[NDArray[numpy.uint64], dict(shape=(None, None), order='C', device='cpu')], row_classes: Annotated[NDArray[numpy.uint64], dict(shape=(None,), order='C', device='cpu')]) -> None:
    """
    Add the histograms of `words` to the three arrays (16, 64), (16, 16) and (64,).
    """

def encode_float_rows(words: Annotated[NDArray[numpy.uint16], dict(shape=(None,), order='C', device='cpu', writable=False)], unit: int, coder: int, row_length: int, n_streams: int, lanes: int, tables: TableSet, side: TableSet, class_table: int) -> bytes:
    """Float-row payload, docs/format.md 5.5."""

def decode_float_rows(payload: Annotated[NDArray[numpy.uint8], dict(shape=(None,), order='C', device='cpu', writable=False)], unit: int, balanced: TableSet | None, fast: TableSet | None, side: TableSet, class_table: int, out: Annotated[NDArray[numpy.uint16], dict(shape=(None,), order='C', device='cpu')]) -> None:
    """Fill out from a float-row payload. Raises CorruptError."""

def encode_integers(values: Annotated[NDArray[numpy.int32], dict(shape=(None,), order='C', device='cpu', writable=False)], side: TableSet, table: int) -> bytes:
    """The bytes of integers(n), docs/format.md 5.4."""

def decode_integers(payload: Annotated[NDArray[numpy.uint8], dict(shape=(None,), order='C', device='cpu', writable=False)], side: TableSet, table: int, low: int, high: int, out: Annotated[NDArray[numpy.int32], dict(shape=(None,), order='C', device='cpu')]) -> int:
    """Fill out and return the number of bytes read. Raises CorruptError."""

def integers_offset(values: Annotated[NDArray[numpy.int32], dict(shape=(None,), order='C', device='cpu', writable=False)]) -> int:
    """What encode_integers takes out of all values (their median)."""

def count_codes(codes: Annotated[NDArray[numpy.int32], dict(shape=(None, None), order='C', device='cpu', writable=False)], row_class: Annotated[NDArray[numpy.int32], dict(shape=(None,), order='C', device='cpu', writable=False)], column_class: Annotated[NDArray[numpy.int32], dict(shape=(None,), order='C', device='cpu', writable=False)], trellis_rows: int, first_class: int, counts: Annotated[NDArray[numpy.uint64], dict(shape=(None, None, None), order='C', device='cpu')], outside: Annotated[NDArray[numpy.uint64], dict(shape=(None, None), order='C', device='cpu')]) -> None:
    """
    Add the histogram of codes by class to counts (halves, classes, 2 range + 1) and outside (halves, classes).
    """

def encode_codes(codes: Annotated[NDArray[numpy.int32], dict(shape=(None, None), order='C', device='cpu', writable=False)], row_class: Annotated[NDArray[numpy.int32], dict(shape=(None,), order='C', device='cpu', writable=False)], column_class: Annotated[NDArray[numpy.int32], dict(shape=(None,), order='C', device='cpu', writable=False)], trellis_rows: int, n_streams: int, lanes: int, tables: TableSet) -> bytes:
    """Code payload, docs/format.md 5.6."""

def decode_codes(payload: Annotated[NDArray[numpy.uint8], dict(shape=(None,), order='C', device='cpu', writable=False)], row_class: Annotated[NDArray[numpy.int32], dict(shape=(None,), order='C', device='cpu', writable=False)], column_class: Annotated[NDArray[numpy.int32], dict(shape=(None,), order='C', device='cpu', writable=False)], trellis_rows: int, tables: TableSet, out: Annotated[NDArray[numpy.int32], dict(shape=(None, None), order='C', device='cpu')]) -> None:
    """Fill out (rows, columns) from a code payload. Raises CorruptError."""

def trellis_levels(codes: Annotated[NDArray[numpy.int32], dict(shape=(None, None), order='C', device='cpu', writable=False)], trellis_rows: int, levels: Annotated[NDArray[numpy.float32], dict(shape=(None, None), order='C', device='cpu')]) -> None:
    """Fill levels, float32, with those of trellis codes."""

class FloatModel:
    """Scales and shapes of a float tensor at level max, docs/format.md 5.5."""

    @property
    def profiles(self) -> int: ...

    @property
    def row_class(self) -> Annotated[NDArray[numpy.int32], dict(shape=(None,))]: ...

    @property
    def row_profile(self) -> Annotated[NDArray[numpy.int32], dict(shape=(None,))]: ...

    @property
    def column_scale(self) -> Annotated[NDArray[numpy.int32], dict(shape=(None,))]: ...

    @property
    def column_shape(self) -> Annotated[NDArray[numpy.int32], dict(shape=(None,))]: ...

def fit_float_model(words: Annotated[NDArray[numpy.uint16], dict(shape=(None, None), device='cpu', writable=False)], unit: int) -> FloatModel:
    """The model of a matrix of 16-bit words."""

def count_float_max(words: Annotated[NDArray[numpy.uint16], dict(shape=(None, None), device='cpu', writable=False)], unit: int, model: FloatModel, stride: int, counts: Annotated[NDArray[numpy.uint64], dict(shape=(None, None), order='C', device='cpu')]) -> None:
    """Add every stride-th row to counts (80, 128)."""

def refine_row_classes(words: Annotated[NDArray[numpy.uint16], dict(shape=(None, None), device='cpu', writable=False)], unit: int, cost: Annotated[NDArray[numpy.float32], dict(shape=(None, None), order='C', device='cpu', writable=False)], reach: int, model: FloatModel) -> None:
    """
    Move row classes to where `cost` (80, 128), bits of each symbol, is least.
    """

def refine_columns(words: Annotated[NDArray[numpy.uint16], dict(shape=(None, None), device='cpu', writable=False)], unit: int, cost: Annotated[NDArray[numpy.float32], dict(shape=(None, None), order='C', device='cpu', writable=False)], stride: int, model: FloatModel) -> None:
    """
    Move column scales, skews and signs likewise, judged on every stride-th row.
    """

def encode_float_max(words: Annotated[NDArray[numpy.uint16], dict(shape=(None, None), order='C', device='cpu', writable=False)], unit: int, model: FloatModel, first_row: int, first_column: int, n_streams: int, lanes: int, tables: TableSet, side: TableSet, class_table: int, profile_table: int) -> bytes:
    """
    Payload of a block (rows, columns) that begins at a row and column of the model's matrix.
    """

def decode_float_max(payload: Annotated[NDArray[numpy.uint8], dict(shape=(None,), order='C', device='cpu', writable=False)], unit: int, column_scale: Annotated[NDArray[numpy.int32], dict(shape=(None, None), order='C', device='cpu', writable=False)], column_shape: Annotated[NDArray[numpy.int32], dict(shape=(None, None), order='C', device='cpu', writable=False)], tables: TableSet, side: TableSet, class_table: int, profile_table: int, out: Annotated[NDArray[numpy.uint16], dict(shape=(None, None), order='C', device='cpu')]) -> None:
    """Fill out (rows, columns). Raises CorruptError."""

def huffman_encode(data: Annotated[NDArray[numpy.uint8], dict(shape=(None,), order='C', device='cpu', writable=False)]) -> bytes:
    """Payload of the bytes `data` (uint8, one dimension, contiguous)."""

def huffman_decode(payload: Annotated[NDArray[numpy.uint8], dict(shape=(None,), order='C', device='cpu', writable=False)], out: Annotated[NDArray[numpy.uint8], dict(shape=(None,), order='C', device='cpu')]) -> None:
    """Fill `out` from `payload`. Raises CorruptError."""

def isa() -> str:
    """Name of the instruction set in use."""

def available_isas() -> list[str]:
    """Names of those that this machine runs, slowest first."""

def use_isa(name: str) -> None:
    """
    Use another instruction set from now on; for tests and benchmarks. Raises UsageError.
    """

def lzw_encode(data: Annotated[NDArray[numpy.uint8], dict(shape=(None,), order='C', device='cpu', writable=False)]) -> bytes:
    """Payload of the bytes `data` (uint8, one dimension, contiguous)."""

def lzw_decode(payload: Annotated[NDArray[numpy.uint8], dict(shape=(None,), order='C', device='cpu', writable=False)], out: Annotated[NDArray[numpy.uint8], dict(shape=(None,), order='C', device='cpu')]) -> None:
    """Fill `out` from `payload`. Raises CorruptError."""

def pack_narrow_rows(words: Annotated[NDArray[numpy.uint16], dict(shape=(None, None), order='C', device='cpu', writable=False)], trailing_zeros: Annotated[NDArray[numpy.uint8], dict(shape=(None,), order='C', device='cpu', writable=False)]) -> bytes:
    """
    Bit stream of the rows (rows, columns) without their trailing zero bits; rows without any are left out.
    """

def unpack_narrow_rows(payload: Annotated[NDArray[numpy.uint8], dict(shape=(None,), order='C', device='cpu', writable=False)], trailing_zeros: Annotated[NDArray[numpy.uint8], dict(shape=(None,), order='C', device='cpu', writable=False)], out: Annotated[NDArray[numpy.uint16], dict(shape=(None, None), order='C', device='cpu')]) -> None:
    """Fill the rows that are not left out. Raises CorruptError."""

def rans_encode(data: Annotated[NDArray[numpy.uint8], dict(shape=(None,), order='C', device='cpu', writable=False)]) -> bytes:
    """Payload of the bytes `data` (uint8, one dimension, contiguous)."""

def rans_decode(payload: Annotated[NDArray[numpy.uint8], dict(shape=(None,), order='C', device='cpu', writable=False)], out: Annotated[NDArray[numpy.uint8], dict(shape=(None,), order='C', device='cpu')]) -> None:
    """Fill `out` from `payload`. Raises CorruptError."""

def round_with_feedback(weights: Annotated[NDArray[numpy.float32], dict(shape=(None, None), order='C', device='cpu', writable=False)], factor: Annotated[NDArray[numpy.float32], dict(shape=(None, None), order='C', device='cpu', writable=False)], row_steps: Annotated[NDArray[numpy.float32], dict(shape=(None,), order='C', device='cpu', writable=False)], column_steps: Annotated[NDArray[numpy.float32], dict(shape=(None,), order='C', device='cpu', writable=False)], row_dead_zones: Annotated[NDArray[numpy.float32], dict(shape=(None,), order='C', device='cpu', writable=False)], column_dead_zones: Annotated[NDArray[numpy.float32], dict(shape=(None,), order='C', device='cpu', writable=False)], codes: Annotated[NDArray[numpy.int32], dict(shape=(None, None), order='C', device='cpu')], threads: int) -> None:
    """
    Fill codes (int32, like weights) by rounding column after column with error feedback (factor of shape (0, 0): none).
    """
