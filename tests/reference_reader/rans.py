"""Interleaved rANS streams with alias tables (docs/format.md sections 5.1 and 5.2)."""

from dataclasses import dataclass

import numpy as np

from .errors import FormatError, require


@dataclass(frozen=True)
class StreamFormat:
    """One row of the table in section 5.1."""

    name: str
    precision: int
    word_type: str
    state_type: str
    lower_bound: int
    alphabets: tuple[int, ...]

    @property
    def word_bits(self) -> int:
        return 8 * np.dtype(self.word_type).itemsize


A12 = StreamFormat("A12", 12, "<u2", "<u4", 1 << 16, (16, 32, 64, 128))
A8 = StreamFormat("A8", 8, "u1", "<u2", 1 << 8, (16,))
FORMATS = {12: A12, 8: A8}
LANE_COUNTS = (1, 2, 4, 8, 16, 32)


def build_alias(frequencies: list[int], precision: int) -> tuple[list[int], list[int], list[int]]:
    """Threshold, alias and adjustment of each bucket (5.2). sum(frequencies) == 2**precision."""
    n_symbols = len(frequencies)
    width = (1 << precision) // n_symbols
    rest = list(frequencies)
    threshold, alias = [width] * n_symbols, list(range(n_symbols))
    small = [bucket for bucket in range(n_symbols) if rest[bucket] <= width]
    large = [bucket for bucket in range(n_symbols) if rest[bucket] > width]
    while small:
        bucket = small.pop()
        threshold[bucket] = rest[bucket]
        if rest[bucket] < width:
            donor = large[-1]
            alias[bucket] = donor
            rest[donor] -= width - rest[bucket]
            if rest[donor] <= width:
                small.append(large.pop())
    return threshold, alias, _adjustments(threshold, alias, width)


def _adjustments(threshold: list[int], alias: list[int], width: int) -> list[int]:
    used = list(threshold)
    adjust = [0] * len(threshold)
    for bucket, limit in enumerate(threshold):
        if limit < width:
            adjust[bucket] = used[alias[bucket]] - limit
            used[alias[bucket]] += width - limit
    return adjust


def slot_map(frequencies: list[int], precision: int) -> tuple[np.ndarray, np.ndarray]:
    """For each of the 2**precision slots its symbol and its offset."""
    threshold, alias, adjust = (np.array(part, np.int64) for part in build_alias(frequencies, precision))
    slots = np.arange(1 << precision)
    width = (1 << precision) // len(frequencies)
    bucket, place = slots // width, slots % width
    is_own = place < threshold[bucket]
    return np.where(is_own, bucket, alias[bucket]), np.where(is_own, place, place + adjust[bucket])


class Tables:
    """Tables of one alphabet and precision, laid out so that an element may use any of them."""

    def __init__(
        self, stream_format: StreamFormat, frequencies: list[list[int]], raw_bits: list[int]
    ) -> None:
        self.format = stream_format
        self.n_symbols = len(frequencies[0]) if frequencies else 0
        self.raw_bits = np.array(raw_bits, np.int64)
        maps = [slot_map(table, stream_format.precision) for table in frequencies]
        self.symbol = np.array([symbols for symbols, _ in maps], np.int64).reshape(-1)
        self.offset = np.array([offsets for _, offsets in maps], np.int64).reshape(-1)
        by_table = [np.array(table, np.int64)[maps[index][0]] for index, table in enumerate(frequencies)]
        self.frequency = np.array(by_table, np.int64).reshape(-1)

    def __len__(self) -> int:
        return len(self.raw_bits)


class LaneDecoder:
    """One stream: element i belongs to lane i mod L; the words are shared and read in element order."""

    def __init__(self, tables: Tables, states: np.ndarray, words: np.ndarray, what: str) -> None:
        self.tables, self.format, self.what = tables, tables.format, what
        self.states = states.astype(np.int64)
        self.words = words.astype(np.int64)
        self.next_word = 0
        self.n_decoded = 0
        require(
            bool((self.states >= self.format.lower_bound).all()),
            f"{what}: a state is below {self.format.lower_bound}",
        )

    def decode(self, table_numbers: np.ndarray) -> np.ndarray:
        """The next symbols, one for each entry of `table_numbers`."""
        first_slots = table_numbers.astype(np.int64) << self.format.precision
        symbols = np.empty(len(table_numbers), np.int64)
        n_lanes = len(self.states)
        start = 0
        while start < len(symbols):
            lane = self.n_decoded % n_lanes
            stop = min(len(symbols), start + n_lanes - lane)
            symbols[start:stop] = self._step(lane, first_slots[start:stop])
            self.n_decoded += stop - start
            start = stop
        return symbols

    def _step(self, lane: int, first_slots: np.ndarray) -> np.ndarray:
        """Decode one element in each of the lanes from `lane` on."""
        precision, tables = self.format.precision, self.tables
        states = self.states[lane : lane + len(first_slots)]
        slots = first_slots + (states & ((1 << precision) - 1))
        states = (states >> precision) * tables.frequency[slots] + tables.offset[slots]
        needy = np.flatnonzero(states < self.format.lower_bound)
        if len(needy):
            stop = self.next_word + len(needy)
            if stop > len(self.words):
                raise FormatError(f"{self.what}: needs more than its {len(self.words)} words")
            states[needy] = states[needy] << self.format.word_bits | self.words[self.next_word : stop]
            self.next_word = stop
        self.states[lane : lane + len(first_slots)] = states
        return tables.symbol[slots]

    def finish(self) -> None:
        """Reject unused words and states that are not the initial ones."""
        left = len(self.words) - self.next_word
        require(left == 0, f"{self.what}: {left} words left over")
        is_home = bool((self.states == self.format.lower_bound).all())
        require(is_home, f"{self.what}: a state does not return to its initial value")
