"""The entropy coders of Zstandard: FSE and Huffman tables and backward bit streams (RFC 8878, section 4)."""

from dataclasses import dataclass

from .errors import FormatError, require

MAX_HUFFMAN_BITS = 11
MAX_WEIGHT_ACCURACY = 6


class BackwardBits:
    """A bit stream that is read from its end (4.1): the highest set bit of the last byte is the end mark."""

    def __init__(self, data: bytes) -> None:
        require(len(data) > 0 and data[-1] != 0, "zstd: a bit stream has no end mark")
        self.data = data
        self.position = 8 * len(data) - 8 + data[-1].bit_length() - 1

    def read(self, count: int) -> int:
        """The next `count` bits; bits in front of the stream read as zero and leave `position` negative."""
        self.position -= count
        return self.peek_at(self.position, count)

    def peek_at(self, position: int, count: int) -> int:
        if position < 0:
            missing = -position
            return self.peek_at(0, count - missing) << missing if missing < count else 0
        first = position >> 3
        word = int.from_bytes(self.data[first : (position + count + 7) >> 3], "little")
        return word >> (position & 7) & ((1 << count) - 1)

    def finish(self) -> None:
        require(self.position == 0, f"zstd: a bit stream ends with {self.position} bits left")


class ForwardBits:
    """A bit stream that is read from its start, lowest bits first; bits past the end are an error."""

    def __init__(self, data: bytes) -> None:
        self.data = data
        self.position = 0

    def read(self, count: int) -> int:
        require(self.position + count <= 8 * len(self.data), "zstd: an FSE table description is truncated")
        first = self.position >> 3
        word = int.from_bytes(self.data[first : first + 4], "little")
        value = word >> (self.position & 7) & ((1 << count) - 1)
        self.position += count
        return value

    @property
    def n_bytes(self) -> int:
        return (self.position + 7) >> 3


@dataclass(frozen=True)
class FseTable:
    """A decoding table: for each state its symbol, the bits to read, and the base of the next state."""

    accuracy: int
    symbols: list[int]
    n_bits: list[int]
    bases: list[int]

    @classmethod
    def of_one(cls, symbol: int) -> "FseTable":
        """RLE mode: one state, no bits."""
        return cls(0, [symbol], [0], [0])

    def step(self, state: int, bits: BackwardBits) -> int:
        return self.bases[state] + bits.read(self.n_bits[state])


def build_fse(accuracy: int, probabilities: list[int]) -> FseTable:
    """The table of a distribution (4.1.1); -1 stands for a probability below one."""
    size = 1 << accuracy
    symbols = _spread(size, probabilities)
    occurrences = [abs(probability) for probability in probabilities]
    n_bits, bases = [], []
    for symbol in symbols:
        occurrence = occurrences[symbol]
        occurrences[symbol] += 1
        n_bits.append(accuracy - occurrence.bit_length() + 1)
        bases.append((occurrence << n_bits[-1]) - size)
    return FseTable(accuracy, symbols, n_bits, bases)


def _spread(size: int, probabilities: list[int]) -> list[int]:
    symbols = [0] * size
    end = size
    for symbol, probability in enumerate(probabilities):
        if probability == -1:
            end -= 1
            symbols[end] = symbol
    position = 0
    for symbol, probability in enumerate(probabilities):
        for _ in range(probability):
            symbols[position] = symbol
            position = _next_place(position, size)
            while position >= end:
                position = _next_place(position, size)
    require(position == 0, "zstd: FSE probabilities do not fill their table")
    return symbols


def _next_place(position: int, size: int) -> int:
    return (position + (size >> 1) + (size >> 3) + 3) & (size - 1)


def read_fse(data: bytes, max_accuracy: int, n_symbols: int) -> tuple[FseTable, int]:
    """An FSE table description (4.1.1) at the start of `data`, and its length in bytes."""
    bits = ForwardBits(data)
    accuracy = bits.read(4) + 5
    require(accuracy <= max_accuracy, f"zstd: FSE accuracy {accuracy} is above {max_accuracy}")
    remaining = 1 << accuracy
    probabilities: list[int] = []
    while remaining > 0:
        probability = _read_probability(bits, remaining)
        remaining -= abs(probability)
        probabilities.append(probability)
        repeat = 3 if probability == 0 else 0
        while repeat == 3:
            repeat = bits.read(2)
            probabilities += [0] * repeat
        require(len(probabilities) <= n_symbols, f"zstd: an FSE table has more than {n_symbols} symbols")
    return build_fse(accuracy, probabilities), bits.n_bytes


def _read_probability(bits: ForwardBits, remaining: int) -> int:
    width = (remaining + 1).bit_length()
    n_short = (1 << width) - 1 - (remaining + 1)  # values that take one bit less
    low = bits.read(width - 1)
    if low < n_short:
        return low - 1
    value = low + (bits.read(1) << (width - 1))
    return value - 1 if value < 1 << (width - 1) else value - n_short - 1


@dataclass(frozen=True)
class HuffmanTable:
    """For each `max_bits`-bit prefix the symbol it starts with and the length of that symbol's code."""

    max_bits: int
    symbols: list[int]
    lengths: list[int]


def read_huffman(data: bytes) -> tuple[HuffmanTable, int]:
    """A Huffman tree description (4.2.1) at the start of `data`, and its length in bytes."""
    require(len(data) > 0, "zstd: a Huffman tree description is missing")
    head = data[0]
    n_bytes = 1 + (head if head < 128 else (head - 127 + 1) // 2)
    require(n_bytes <= len(data), "zstd: a Huffman tree description is truncated")
    body = data[1:n_bytes]
    if head < 128:
        weights = _compressed_weights(body)
    else:
        nibbles = [nibble for byte in body for nibble in (byte >> 4, byte & 15)]
        weights = nibbles[: head - 127]
    return build_huffman(weights), n_bytes


def _compressed_weights(data: bytes) -> list[int]:
    """Weights coded by one FSE table with two states in turn, until the bits run out (4.2.1.2)."""
    table, start = read_fse(data, MAX_WEIGHT_ACCURACY, 256)
    bits = BackwardBits(data[start:])
    states = [bits.read(table.accuracy), bits.read(table.accuracy)]
    require(bits.position >= 0, "zstd: Huffman weights are truncated")
    weights: list[int] = []
    turn = 0
    while bits.position >= 0:
        require(len(weights) < 255, "zstd: more than 255 Huffman weights")
        weights.append(table.symbols[states[turn]])
        states[turn] = table.step(states[turn], bits)
        turn ^= 1
    weights.append(table.symbols[states[turn]])
    return weights


def build_huffman(weights: list[int]) -> HuffmanTable:
    """The table of explicit weights; the last symbol's weight fills the sum to a power of two (4.2.1.3)."""
    total = sum(1 << (weight - 1) for weight in weights if weight > 0)
    require(total > 0, "zstd: all Huffman weights are zero")
    max_bits = total.bit_length()
    missing = (1 << max_bits) - total
    require(
        max_bits <= MAX_HUFFMAN_BITS, f"zstd: Huffman codes of {max_bits} bits, at most {MAX_HUFFMAN_BITS}"
    )
    require(missing & (missing - 1) == 0, "zstd: Huffman weights do not leave a power of two")
    weights = [*weights, missing.bit_length()]
    require(len(weights) <= 256, "zstd: more than 256 Huffman symbols")
    symbols: list[int] = []
    lengths: list[int] = []
    for weight in range(1, max_bits + 1):
        for symbol, other in enumerate(weights):
            if other == weight:
                symbols += [symbol] * (1 << (weight - 1))
                lengths += [max_bits + 1 - weight] * (1 << (weight - 1))
    return HuffmanTable(max_bits, symbols, lengths)


def decode_huffman(table: HuffmanTable, data: bytes, count: int) -> bytes:
    """`count` symbols from one backward bit stream, which they must use up."""
    bits = BackwardBits(data)
    out = bytearray(count)
    position, max_bits = bits.position, table.max_bits
    for index in range(count):
        prefix = bits.peek_at(position - max_bits, max_bits)
        out[index] = table.symbols[prefix]
        position -= table.lengths[prefix]
        if position < 0:
            raise FormatError("zstd: a Huffman stream is truncated")
    bits.position = position
    bits.finish()
    return bytes(out)
