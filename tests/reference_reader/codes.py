"""Grid codes, plain or of the trellis (docs/format.md section 5.6)."""

from dataclasses import dataclass

import numpy as np

from .cursor import Cursor, bits_of, mixed_width
from .errors import require
from .float_rows import read_n_streams, split_rows
from .integers import I32, check_range, high_parts, lanes_of
from .rans import LaneDecoder
from .tables import TableSet

NEXT_STATE = np.array([(0, 2), (5, 7), (1, 3), (6, 4), (2, 0), (4, 6), (3, 1), (7, 5)])


@dataclass
class CodeStream:
    """One stream of a code payload, decoded run by run."""

    decoder: LaneDecoder
    raw: np.ndarray
    escapes: Cursor
    next_bit: int = 0

    def take(self, table_numbers: np.ndarray) -> np.ndarray:
        """The next codes, one for each entry of `table_numbers`."""
        tables = self.decoder.tables
        widths = tables.raw_bits[table_numbers]
        stop = self.next_bit + int(widths.sum())
        require(stop <= len(self.raw), f"{self.decoder.what}: raw bits are truncated")
        low = mixed_width(self.raw[self.next_bit : stop], widths)
        self.next_bit = stop
        high = high_parts(self.decoder.decode(table_numbers), tables.n_symbols, self.escapes)
        return check_range((high << widths) + low, I32, self.decoder.what)

    def finish(self) -> None:
        self.decoder.finish()
        self.escapes.finish()
        packed = np.packbits(self.raw, bitorder="little").tobytes()
        bits_of(packed, self.next_bit, f"{self.decoder.what}: raw bits")


def read_codes(
    cursor: Cursor,
    row_classes: np.ndarray,
    column_classes: np.ndarray,
    table_set: TableSet,
    trellis_rows: int,
) -> tuple[np.ndarray, np.ndarray]:
    """Codes (rows, columns) int64, and whether each is of an odd trellis state (all False without trellis).

    trellis_rows: rows after which the trellis restarts; 0 for plain codes.
    """
    n_rows, n_columns = len(row_classes), len(column_classes)
    streams = read_streams(cursor, table_set)
    unit = max(1, trellis_rows)
    n_units = -(-n_rows // unit)
    bounds = [min(n_rows, first * unit) for first in split_rows(n_units, len(streams))]
    codes = np.empty((n_rows, n_columns), np.int64)
    odd = np.zeros((n_rows, n_columns), bool)
    for stream, start, stop in zip(streams, bounds, bounds[1:], strict=False):
        classes = row_classes[start:stop, None] + column_classes  # (rows of the stream, columns)
        if trellis_rows:
            codes[start:stop], odd[start:stop] = _trellis_rows(stream, classes, table_set, unit)
        else:
            numbers = table_set.tables_of_classes(classes.reshape(-1), None)
            codes[start:stop] = stream.take(numbers).reshape(classes.shape)
        stream.finish()
    return codes, odd


def read_streams(cursor: Cursor, table_set: TableSet) -> list[CodeStream]:
    """All streams of a code payload, not decoded yet."""
    n_streams = read_n_streams(cursor)
    n_lanes = lanes_of(cursor.u8(), cursor.what)
    lengths = [(cursor.varint(), cursor.varint(), cursor.varint()) for _ in range(n_streams)]
    states = [cursor.array("<u4", n_lanes) for _ in range(n_streams)]
    raw = [cursor.bits(8 * n_raw) for _, _, n_raw in lengths]
    escapes = [Cursor(cursor.take(n_escapes), f"{cursor.what}: escapes") for _, n_escapes, _ in lengths]
    streams = []
    for number, (n_words, _, _) in enumerate(lengths):
        what = f"{cursor.what}: stream {number}"
        decoder = LaneDecoder(table_set.tables, states[number], cursor.array("<u2", n_words), what)
        streams.append(CodeStream(decoder, raw[number], escapes[number]))
    return streams


def _trellis_rows(
    stream: CodeStream, classes: np.ndarray, table_set: TableSet, restart: int
) -> tuple[np.ndarray, np.ndarray]:
    """Row by row, because each row's tables depend on the states that the row above leaves."""
    codes = np.empty(classes.shape, np.int64)
    odd = np.empty(classes.shape, bool)
    states = np.zeros(classes.shape[1], np.int64)
    for row, row_classes in enumerate(classes):
        if row % restart == 0:
            states[:] = 0
        odd[row] = states & 1 == 1
        codes[row] = stream.take(table_set.tables_of_classes(row_classes, odd[row]))
        states = NEXT_STATE[states, codes[row] & 1]
    return codes, odd
