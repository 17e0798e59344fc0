"""Compiled coders and loops of tersor."""

from collections.abc import Sequence
from typing import Annotated

import numpy
from numpy.typing import NDArray


class DenseTables:
    """
    What the dense blocks of an archive file share, for the compiled decoder.
    """

    def __init__(self, balanced: TableSet | None, fast: TableSet | None, max: TableSet | None, side: TableSet | None, codecs: Sequence[int], class_table: int, profile_table: int, zeros_table: int) -> None:
        """
        codecs: by number, 0 for one that is not compiled, 1 constant, 2 raw, 3 huffman, 4 rans. The last three are numbers in the set `side`.
        """

class DenseTensor:
    """A stored dense tensor and its blocks, for the compiled decoder."""

    def __init__(self, tables: DenseTables, rows: int, columns: int, element_bytes: int, block_rows: int, block_columns: int, offsets: Annotated[NDArray[numpy.int64], dict(shape=(None,), order='C', device='cpu', writable=False)], checksums: Annotated[NDArray[numpy.uint32], dict(shape=(None,), order='C', device='cpu', writable=False)], column_scale: Annotated[NDArray[numpy.int32], dict(shape=(None, None), order='C', device='cpu', writable=False)] | None, column_shape: Annotated[NDArray[numpy.int32], dict(shape=(None, None), order='C', device='cpu', writable=False)] | None) -> None: ...

    def decode(self, number: int, payload: Annotated[NDArray[numpy.uint8], dict(shape=(None,), order='C', device='cpu', writable=False)], out: Annotated[NDArray[numpy.uint8], dict(shape=(None, None), device='cpu')]) -> bool:
        """
        Fill out (rows, bytes of a row) of one block. False: it is damaged, or of a form or codec that is not compiled; out is then undefined.
        """

class DenseBatch:
    """
    Blocks of several dense tensors, decoded by as many threads as call `run` at a time.
    """

    def __init__(self) -> None: ...

    def add(self, tensor: object, first: int, end: int, payload: Annotated[NDArray[numpy.uint8], dict(shape=(None,), order='C', device='cpu', writable=False)], out: Annotated[NDArray[numpy.uint8], dict(shape=(None,), order='C', device='cpu')]) -> None:
        """
        Add blocks first .. end - 1; payload: theirs, one after another; out: the bytes of the whole tensor.
        """

    def arrange(self, largest_first: bool) -> None:
        """
        Make the tasks of `run`, the largest first, so that threads end at about the same time, or in order.
        """

    def run(self) -> None:
        """Decode blocks that no other thread has taken until there are none."""

    def left(self) -> list[tuple[int, int]]:
        """
        (number of the `add`, number of the block) of those that are damaged, or of a form or codec that is not compiled; when every `run` is over.
        """

def dequantize(codes: Annotated[NDArray[numpy.int32], dict(shape=(None, None), order='C', device='cpu', writable=False)], row_exponents: Annotated[NDArray[numpy.int32], dict(shape=(None,), order='C', device='cpu', writable=False)], column_exponents: Annotated[NDArray[numpy.int32], dict(shape=(None,), order='C', device='cpu', writable=False)], trellis_rows: int, codebook: Annotated[NDArray[numpy.float32], dict(shape=(None,), order='C', device='cpu', writable=False)] | None, group_size: int, scales: Annotated[NDArray[numpy.float32], dict(shape=(None, None), order='C', device='cpu', writable=False)] | None, zero_points: Annotated[NDArray[numpy.int32], dict(shape=(None, None), order='C', device='cpu', writable=False)] | None, values: Annotated[NDArray[numpy.float32], dict(shape=(None, None), order='C', device='cpu')]) -> None:
    """
    Fill values (rows, columns), float32, with the weights of a grid, docs/format.md 4.2. Raises ValueError.
    """

def dequantize_bf16(codes: Annotated[NDArray[numpy.int32], dict(shape=(None, None), order='C', device='cpu', writable=False)], row_exponents: Annotated[NDArray[numpy.int32], dict(shape=(None,), order='C', device='cpu', writable=False)], column_exponents: Annotated[NDArray[numpy.int32], dict(shape=(None,), order='C', device='cpu', writable=False)], trellis_rows: int, codebook: Annotated[NDArray[numpy.float32], dict(shape=(None,), order='C', device='cpu', writable=False)] | None, group_size: int, scales: Annotated[NDArray[numpy.float32], dict(shape=(None, None), order='C', device='cpu', writable=False)] | None, zero_points: Annotated[NDArray[numpy.int32], dict(shape=(None, None), order='C', device='cpu', writable=False)] | None, values: Annotated[NDArray[numpy.uint16], dict(shape=(None, None), order='C', device='cpu')]) -> None:
    """The same, rounded to the nearest BF16, as uint16."""

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

def multiply_factors(left: Annotated[NDArray[numpy.float32], dict(shape=(None, None), order='C', device='cpu', writable=False)], right: Annotated[NDArray[numpy.float32], dict(shape=(None, None), order='C', device='cpu', writable=False)], values: Annotated[NDArray[numpy.float32], dict(shape=(None, None), order='C', device='cpu')]) -> None:
    """
    Fill values (rows, columns) with left (rows, rank) times right (rank, columns), float32: sums in order, docs/format.md 4.6. Raises ValueError.
    """

def learn_field_groups(records: Annotated[NDArray[numpy.uint8], dict(shape=(None, None), order='C', device='cpu', writable=False)], scale: float) -> tuple[list[tuple[list[int], int]], float]:
    """
    Groups (positions, reference or -1) of the byte positions of records (n, stride), and the bits that `scale` times as many are expected to take.
    """

def count_float_blocks(arrays: Sequence[Annotated[NDArray[numpy.uint8], dict(shape=(None,), order='C', device='cpu', writable=False)]], jobs: Annotated[NDArray[numpy.int64], dict(shape=(None, None), order='C', device='cpu', writable=False)], n_sample: int, threads: int, balanced: Annotated[NDArray[numpy.uint64], dict(shape=(None, None), order='C', device='cpu')], fast: Annotated[NDArray[numpy.uint64], dict(shape=(None, None), order='C', device='cpu')], row_classes: Annotated[NDArray[numpy.uint64], dict(shape=(None,), order='C', device='cpu')]) -> None:
    """
    Add the histograms of about n_sample elements of each block to the three arrays (16, 64), (16, 16) and (64,).
    """

def encode_float_blocks(arrays: Sequence[Annotated[NDArray[numpy.uint8], dict(shape=(None,), order='C', device='cpu', writable=False)]], jobs: Annotated[NDArray[numpy.int64], dict(shape=(None, None), order='C', device='cpu', writable=False)], coder: int, tables: TableSet, side: TableSet, class_table: int, raw_codec: int, narrow_rows: bool, threads: int, out: Annotated[NDArray[numpy.uint8], dict(shape=(None,), order='C', device='cpu')], results: Annotated[NDArray[numpy.int64], dict(shape=(None, None), order='C', device='cpu')]) -> None:
    """
    Put the payload of each block into its room of `out`; results (blocks, 3) says where it begins and ends there, and its CRC-32C. An empty one: try other forms.
    """

def plane_bits(data: Annotated[NDArray[numpy.uint8], dict(shape=(None,), order='C', device='cpu', writable=False)], offset: int, stride: int) -> float:
    """
    Bits that every stride-th byte takes under an order-0 code with its table, from a sample.
    """

def float_block_room(n_bytes: int, n_rows: int) -> int:
    """Bytes of room that the payload of a block may need."""

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

def fit_float_model(words: Annotated[NDArray[numpy.uint16], dict(shape=(None, None), device='cpu', writable=False)], unit: int, pause: object | None = None) -> FloatModel:
    """
    The model of a matrix of 16-bit words. pause: called after every few MB that were read.
    """

def count_float_max(words: Annotated[NDArray[numpy.uint16], dict(shape=(None, None), device='cpu', writable=False)], unit: int, model: FloatModel, stride: int, counts: Annotated[NDArray[numpy.uint64], dict(shape=(None, None), order='C', device='cpu')], pause: object | None = None) -> None:
    """Add every stride-th row to counts (80, 128)."""

def refine_row_classes(words: Annotated[NDArray[numpy.uint16], dict(shape=(None, None), device='cpu', writable=False)], unit: int, cost: Annotated[NDArray[numpy.float32], dict(shape=(None, None), order='C', device='cpu', writable=False)], reach: int, model: FloatModel, pause: object | None = None) -> None:
    """
    Move row classes to where `cost` (80, 128), bits of each symbol, is least.
    """

class MaxCodeTables:
    """The tables of level max as its encoder wants them."""

    def __init__(self, tables: TableSet) -> None: ...

def encode_float_max(words: Annotated[NDArray[numpy.uint16], dict(shape=(None, None), order='C', device='cpu', writable=False)], unit: int, model: FloatModel, first_row: int, first_column: int, n_streams: int, lanes: int, tables: TableSet, side: TableSet, class_table: int, profile_table: int) -> bytes:
    """
    Payload of a block (rows, columns) that begins at a row and column of the model's matrix.
    """

def encode_float_max_block(data: Annotated[NDArray[numpy.uint8], dict(shape=(None,), order='C', device='cpu', writable=False)], rows: int, columns: int, unit: int, model: FloatModel, first_row: int, first_column: int, n_streams: int, lanes: int, codes: MaxCodeTables, side: TableSet, class_table: int, profile_table: int, raw_codec: int, narrow_rows: bool) -> tuple[bytes, int]:
    """
    Payload of a whole block and the CRC-32C of its bytes. An empty payload: try other forms.
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

def expand_kept(mask: Annotated[NDArray[numpy.bool_], dict(shape=(None,), order='C', device='cpu', writable=False)], values: Annotated[NDArray[numpy.uint8], dict(shape=(None,), order='C', device='cpu', writable=False)], size: int, out: Annotated[NDArray[numpy.uint8], dict(shape=(None,), order='C', device='cpu')]) -> None:
    """
    Fill out, the bytes of elements of `size` bytes (1, 2, 4 or 8), with the next of values where mask is True, else with zeros.
    """

def lzw_encode(data: Annotated[NDArray[numpy.uint8], dict(shape=(None,), order='C', device='cpu', writable=False)]) -> bytes:
    """Payload of the bytes `data` (uint8, one dimension, contiguous)."""

def lzw_decode(payload: Annotated[NDArray[numpy.uint8], dict(shape=(None,), order='C', device='cpu', writable=False)], out: Annotated[NDArray[numpy.uint8], dict(shape=(None,), order='C', device='cpu')]) -> None:
    """Fill `out` from `payload`. Raises CorruptError."""

def trailing_zeros(halves: Annotated[NDArray[numpy.uint16], dict(shape=(None, None), device='cpu', writable=False)], out: Annotated[NDArray[numpy.uint8], dict(shape=(None,), order='C', device='cpu')]) -> None:
    """
    Fill out with the trailing zero bits that all elements of each F32 row share; halves: (rows, 2 columns).
    """

def pack_narrow_rows(words: Annotated[NDArray[numpy.uint16], dict(shape=(None, None), order='C', device='cpu', writable=False)], trailing_zeros: Annotated[NDArray[numpy.uint8], dict(shape=(None,), order='C', device='cpu', writable=False)]) -> bytes:
    """
    Bit stream of the rows (rows, columns) without their trailing zero bits; rows without any are left out.
    """

def unpack_narrow_rows(payload: Annotated[NDArray[numpy.uint8], dict(shape=(None,), order='C', device='cpu', writable=False)], trailing_zeros: Annotated[NDArray[numpy.uint8], dict(shape=(None,), order='C', device='cpu', writable=False)], out: Annotated[NDArray[numpy.uint16], dict(shape=(None, None), order='C', device='cpu')]) -> None:
    """Fill the rows that are not left out. Raises CorruptError."""

def remove_columns(weights: Annotated[NDArray[numpy.float32], dict(shape=(None, None), order='C', device='cpu')], mask: Annotated[NDArray[numpy.bool_], dict(shape=(None, None), order='C', device='cpu', writable=False)], column_factor: Annotated[NDArray[numpy.float32], dict(shape=(None, None), order='C', device='cpu', writable=False)], row_factor: Annotated[NDArray[numpy.float32], dict(shape=(None, None), order='C', device='cpu', writable=False)], first: int, last: int, begin: int, end: int, errors: Annotated[NDArray[numpy.float32], dict(shape=(None, None), order='C', device='cpu')], threads: int) -> None:
    """
    Remove the masked (False) weights of columns begin .. end - 1 in place, and let their errors move the columns behind up to last - 1 and the rows below (row_factor of shape (0, 0): not these). errors (rows, last - first): filled for push_removed. At most 128 columns at a time.
    """

def push_removed(weights: Annotated[NDArray[numpy.float32], dict(shape=(None, None), order='C', device='cpu')], mask: Annotated[NDArray[numpy.bool_], dict(shape=(None, None), order='C', device='cpu', writable=False)], column_factor: Annotated[NDArray[numpy.float32], dict(shape=(None, None), order='C', device='cpu', writable=False)], first: int, last: int, errors: Annotated[NDArray[numpy.float32], dict(shape=(None, None), order='C', device='cpu', writable=False)], threads: int) -> None:
    """
    Let the errors of columns first .. last - 1 move all columns from last on, in place.
    """

def rans_encode(data: Annotated[NDArray[numpy.uint8], dict(shape=(None,), order='C', device='cpu', writable=False)]) -> bytes:
    """Payload of the bytes `data` (uint8, one dimension, contiguous)."""

def rans_decode(payload: Annotated[NDArray[numpy.uint8], dict(shape=(None,), order='C', device='cpu', writable=False)], out: Annotated[NDArray[numpy.uint8], dict(shape=(None,), order='C', device='cpu')]) -> None:
    """Fill `out` from `payload`. Raises CorruptError."""

def round_with_feedback(weights: Annotated[NDArray[numpy.float32], dict(shape=(None, None), order='C', device='cpu', writable=False)], factor: Annotated[NDArray[numpy.float32], dict(shape=(None, None), order='C', device='cpu', writable=False)], row_steps: Annotated[NDArray[numpy.float32], dict(shape=(None,), order='C', device='cpu', writable=False)], column_steps: Annotated[NDArray[numpy.float32], dict(shape=(None,), order='C', device='cpu', writable=False)], row_dead_zones: Annotated[NDArray[numpy.float32], dict(shape=(None,), order='C', device='cpu', writable=False)], column_dead_zones: Annotated[NDArray[numpy.float32], dict(shape=(None,), order='C', device='cpu', writable=False)], codes: Annotated[NDArray[numpy.int32], dict(shape=(None, None), order='C', device='cpu')], threads: int, mask: Annotated[NDArray[numpy.bool_], dict(shape=(None, None), order='C', device='cpu', writable=False)] | None = None) -> None:
    """
    Fill codes (int32, like weights) by rounding column after column with error feedback (factor of shape (0, 0): none). Codes are 0 where mask is False.
    """

def round_two_sided(weights: Annotated[NDArray[numpy.float32], dict(shape=(None, None), order='C', device='cpu', writable=False)], column_factor: Annotated[NDArray[numpy.float32], dict(shape=(None, None), order='C', device='cpu', writable=False)], row_factor: Annotated[NDArray[numpy.float32], dict(shape=(None, None), order='C', device='cpu', writable=False)], row_steps: Annotated[NDArray[numpy.float32], dict(shape=(None,), order='C', device='cpu', writable=False)], column_steps: Annotated[NDArray[numpy.float32], dict(shape=(None,), order='C', device='cpu', writable=False)], row_classes: Annotated[NDArray[numpy.int32], dict(shape=(None,), order='C', device='cpu', writable=False)], column_classes: Annotated[NDArray[numpy.int32], dict(shape=(None,), order='C', device='cpu', writable=False)], code_costs: Annotated[NDArray[numpy.float32], dict(shape=(None, None, None), order='C', device='cpu', writable=False)], first_class: int, run_rows: int, codes: Annotated[NDArray[numpy.int32], dict(shape=(None, None), order='C', device='cpu')], threads: int, mask: Annotated[NDArray[numpy.bool_], dict(shape=(None, None), order='C', device='cpu', writable=False)] | None = None) -> None:
    """
    Fill codes (int32, like weights; 0 where mask is False) with error feedback along rows and columns (factors of shape (0, 0): none). code_costs: (halves, classes, magnitudes); two halves: trellis codes, whose state restarts every run_rows rows (a multiple of 16, at most 256).
    """
