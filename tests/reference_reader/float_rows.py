"""Float rows: 16-bit floats coded relative to the scale of their row (docs/format.md section 5.5)."""

from dataclasses import dataclass

import numpy as np

from .cursor import Cursor, fixed_width
from .errors import FormatError, UnsupportedError, require
from .integers import FLOAT_ROW_CLASSES, I16, lanes_of, read_integers
from .rans import A8, A12, LaneDecoder, StreamFormat
from .tables import TableSets

MAX_STREAMS = 8


@dataclass(frozen=True)
class FloatFormat:
    """Exponent bits, mantissa bits and exponent bias of a 16-bit float."""

    exponent_bits: int
    mantissa_bits: int
    bias: int


BF16 = FloatFormat(8, 7, 127)
F16 = FloatFormat(5, 10, 15)


@dataclass(frozen=True)
class Coder:
    """A stream format, its table set, and t, the mantissa bits that join the exponent in a symbol."""

    stream_format: StreamFormat
    table_set: str
    top_bits: int


BALANCED, FAST, MAX = 0, 1, 2
CODERS = {BALANCED: Coder(A12, "float12", 2), FAST: Coder(A8, "float8", 0)}


def split_rows(n_rows: int, n_streams: int) -> list[int]:
    """Where the rows of each stream begin, and the end."""
    return [stream * n_rows // n_streams for stream in range(n_streams + 1)]


def read_n_streams(cursor: Cursor) -> int:
    n_streams = cursor.u8()
    require(1 <= n_streams <= MAX_STREAMS, f"{cursor.what}: {n_streams} streams, 1..{MAX_STREAMS} allowed")
    return n_streams


def read_coder(cursor: Cursor) -> int:
    """The number that a float-row payload begins with."""
    number = cursor.u8()
    if number not in (BALANCED, FAST, MAX):
        raise UnsupportedError(f"{cursor.what}: float coder {number} is not known")
    return number


def read_float_rows(
    cursor: Cursor, count: int, float_format: FloatFormat, sets: TableSets, number: int
) -> np.ndarray:
    """`count` 16-bit words of coder `number`, balanced or fast, as uint16; the cursor is behind it."""
    coder = CODERS[number]
    shape_class = cursor.u8()
    require(shape_class < 4, f"{cursor.what}: shape class {shape_class}, at most 3")
    base = cursor.signed_varint()
    require(I16[0] <= base <= I16[1], f"{cursor.what}: base {base}")
    row_length = cursor.varint()
    require(row_length > 0, f"{cursor.what}: row length 0")
    n_rows = -(-count // row_length)
    n_streams = read_n_streams(cursor)
    n_lanes = lanes_of(cursor.u8(), cursor.what)
    classes = read_integers(cursor, n_rows, sets, FLOAT_ROW_CLASSES, I16)
    tables = sets.kind(coder.table_set).tables
    row_tables = 4 * shape_class + (classes & 3)
    lengths = [(cursor.varint(), cursor.varint()) for _ in range(n_streams)]
    states = [cursor.array(coder.stream_format.state_type, n_lanes) for _ in range(n_streams)]
    n_raw_bits = float_format.mantissa_bits - coder.top_bits + 1
    raw = fixed_width(cursor.bits(count * n_raw_bits), count, n_raw_bits)
    escapes = [Cursor(cursor.take(n_escapes), f"{cursor.what}: escapes") for _, n_escapes in lengths]

    element_rows = np.arange(count) // row_length
    bounds = [min(count, row * row_length) for row in split_rows(n_rows, n_streams)]
    fields = np.empty(count, np.int64)
    for stream in range(n_streams):
        part = slice(bounds[stream], bounds[stream + 1])
        words = cursor.array(coder.stream_format.word_type, lengths[stream][0])
        decoder = LaneDecoder(tables, states[stream], words, f"{cursor.what}: stream {stream}")
        symbols = decoder.decode(row_tables[element_rows[part]])
        decoder.finish()
        fields[part] = _with_escapes(symbols, escapes[stream], number, float_format)
        escapes[stream].finish()
    shifts = float_format.bias + base + (classes >> 2) - 12
    return _join(fields, raw, shifts[element_rows], float_format, coder.top_bits)


def _with_escapes(symbols: np.ndarray, escapes: Cursor, coder: int, float_format: FloatFormat) -> np.ndarray:
    """The field x of each element: its symbol, or for symbol 0 what the escapes say."""
    read_escape = _fast_escape if coder == FAST else _balanced_escape
    n_bits = float_format.exponent_bits + CODERS[coder].top_bits
    for place in np.flatnonzero(symbols == 0):
        field = read_escape(escapes, float_format)
        if field >= 1 << n_bits:
            raise FormatError(f"{escapes.what}: field {field} has more than {n_bits} bits")
        symbols[place] = field
    return symbols


def _fast_escape(escapes: Cursor, float_format: FloatFormat) -> int:
    return escapes.u8()


def _balanced_escape(escapes: Cursor, float_format: FloatFormat) -> int:
    byte = escapes.u8()
    distance = byte >> 2
    if distance == 63:
        distance = escapes.u8()
        require(distance >= 63, f"{escapes.what}: distance {distance} needs no second byte")
    n_exponents = 1 << float_format.exponent_bits
    require(distance < n_exponents, f"{escapes.what}: distance {distance}, below {n_exponents} expected")
    return (-distance % n_exponents) << 2 | byte & 3


def _join(
    fields: np.ndarray, raw: np.ndarray, shifts: np.ndarray, float_format: FloatFormat, top_bits: int
) -> np.ndarray:
    """v = u + p mod 2**16, u put together from its field, low mantissa bits and sign."""
    n_low = float_format.mantissa_bits - top_bits
    low, sign = raw & ((1 << n_low) - 1), raw >> n_low
    relative = low | fields << n_low | sign << 15
    return (relative + (shifts << float_format.mantissa_bits) & 0xFFFF).astype(np.uint16)
