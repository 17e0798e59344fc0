"""Table sets of the index (docs/format.md section 5.3)."""

from dataclasses import dataclass
from typing import Any

import numpy as np

from .cursor import Cursor, bits_of
from .errors import FormatError, UnsupportedError, require
from .rans import FORMATS, Tables

# kind: (precision, number of symbols or None for any that the stream format allows)
KINDS: dict[str, tuple[int, int | None]] = {
    "float12": (12, 64),
    "float8": (8, 16),
    "float12max": (12, 128),
    "side": (12, None),
    "codes": (12, None),
    "grid": (12, None),
}
MAX_RAW_BITS = 16
# 4 shape classes x 4 quarters of an octave; of coder max each for 5 skews
N_FLOAT_TABLES = {"float12": 16, "float8": 16, "float12max": 80}
MAX_FIRST_CLASS = 1 << 17


@dataclass(frozen=True)
class TableSet:
    """Tables and, for grids, the map from entropy classes to them."""

    kind: str
    tables: Tables
    first_class: int
    class_map: np.ndarray

    def tables_of_classes(self, classes: np.ndarray, odd: np.ndarray | None) -> np.ndarray:
        """The table of each element. odd: whether its trellis state is odd; None without trellis."""
        if odd is None:
            length, half = len(self.class_map), np.zeros(1, np.int64)
        else:
            require(len(self.class_map) % 2 == 0, "grid table set: a trellis class map has two halves")
            length = len(self.class_map) // 2
            half = odd.astype(np.int64) * length
        return self.class_map[np.clip(classes - self.first_class, 0, length - 1) + half]


class TableSets:
    """The table sets of a file. One of an unknown kind is an error only where something uses it."""

    def __init__(self, records: list[Any]) -> None:
        require(isinstance(records, list), "index: table_sets is not an array")
        self.records = [_check_record(record, number) for number, record in enumerate(records)]
        for kind in (*N_FLOAT_TABLES, "codes", "side"):
            count = sum(record[0] == kind for record in self.records)
            require(count <= 1, f"index: {count} table sets of kind {kind}")
        self.parsed = {
            number: _parse(record, f"table set {number}")
            for number, record in enumerate(self.records)
            if record[0] in KINDS
        }

    def number(self, number: Any, kind: str) -> TableSet:
        """Table set `number`, which must be of `kind`."""
        is_number = isinstance(number, int) and 0 <= number < len(self.records)
        require(is_number, f"table set {number!r}: the file has {len(self.records)}")
        found = self.records[number][0]
        if found not in KINDS:
            raise UnsupportedError(f"table set kind {found!r} is not known")
        require(found == kind, f"table set {number} is of kind {found}, {kind} needed")
        return self.parsed[number]

    def kind(self, kind: str) -> TableSet:
        """The one table set of a kind."""
        for table_set in self.parsed.values():
            if table_set.kind == kind:
                return table_set
        raise FormatError(f"the file has no table set of kind {kind}")


def _check_record(record: Any, number: int) -> list[Any]:
    is_named = isinstance(record, list) and len(record) >= 1 and isinstance(record[0], str)
    require(is_named, f"table set {number}: not an array that starts with its kind")
    return list(record)


def _parse(record: list[Any], what: str) -> TableSet:
    require(len(record) >= 7, f"{what}: {len(record)} elements, 7 needed")
    kind, n_symbols, precision, raw_bits, frequencies, first_class, class_map = record[:7]
    needed_precision, needed_symbols = KINDS[kind]
    require(precision == needed_precision, f"{what}: {kind} with precision {precision}")
    stream_format = FORMATS[needed_precision]
    allowed = stream_format.alphabets if needed_symbols is None else (needed_symbols,)
    require(n_symbols in allowed, f"{what}: {kind} with {n_symbols} symbols, one of {allowed} needed")
    require(isinstance(raw_bits, bytes) and isinstance(frequencies, bytes), f"{what}: bin expected")
    limit = MAX_RAW_BITS if kind in ("side", "codes", "grid") else 0
    require(
        max(raw_bits, default=0) <= limit, f"{what}: {kind} table with {max(raw_bits, default=0)} raw bits"
    )
    n_needed = N_FLOAT_TABLES.get(kind, len(raw_bits))
    require(len(raw_bits) == n_needed, f"{what}: {len(raw_bits)} {kind} tables, {n_needed} needed")
    lists = read_frequencies(frequencies, len(raw_bits), n_symbols, precision, what)
    tables = Tables(stream_format, lists, list(raw_bits))
    return TableSet(kind, tables, *_parse_classes(kind, first_class, class_map, len(raw_bits), what))


def _parse_classes(kind: str, first: Any, class_map: Any, n_tables: int, what: str) -> tuple[int, np.ndarray]:
    is_small = isinstance(first, int) and abs(first) <= MAX_FIRST_CLASS
    require(is_small, f"{what}: first_class {first!r} is not within {MAX_FIRST_CLASS}")
    require(isinstance(class_map, bytes), f"{what}: class_map is no bin")
    numbers = list(class_map)
    if kind not in ("codes", "grid"):
        require(first == 0 and not numbers, f"{what}: {kind} tables have no classes")
    else:
        require(bool(numbers), f"{what}: class map is empty")
        require(max(numbers) < n_tables, f"{what}: class map names a table outside 0..{n_tables - 1}")
    return first, np.array(numbers, np.int64)


def read_frequencies(
    data: bytes, n_tables: int, n_symbols: int, precision: int, what: str
) -> list[list[int]]:
    """For each symbol four bits n, then the n - 1 bits below the top bit of its frequency."""
    require(4 * n_tables * n_symbols <= 8 * len(data), f"{what}: frequencies are truncated")
    reader = _BitReader(Cursor(data, what).bits(8 * len(data)).tolist(), what)
    tables = [[reader.frequency() for _ in range(n_symbols)] for _ in range(n_tables)]
    bits_of(data, reader.position, what)
    for number, table in enumerate(tables):
        total = sum(table)
        require(total == 1 << precision, f"{what}: frequencies of table {number} sum to {total}")
        require(max(table) < 1 << precision, f"{what}: table {number} has one symbol only")
    return tables


class _BitReader:
    def __init__(self, bits: list[int], what: str) -> None:
        self.bits, self.what, self.position = bits, what, 0

    def read(self, count: int) -> int:
        require(self.position + count <= len(self.bits), f"{self.what}: frequencies are truncated")
        bits = self.bits[self.position : self.position + count]
        self.position += count
        return sum(bit << place for place, bit in enumerate(bits))

    def frequency(self) -> int:
        n_bits = self.read(4)
        return 1 << (n_bits - 1) | self.read(n_bits - 1) if n_bits else 0
