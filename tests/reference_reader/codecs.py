"""Byte codecs (docs/format-codecs.md): payload -> exactly n bytes."""

from collections.abc import Callable

import numpy as np

from . import zstd
from .cursor import Cursor, bits_of
from .errors import FormatError, UnsupportedError, require
from .integers import lanes_of
from .rans import A12, LaneDecoder, Tables
from .tables import read_frequencies

LZW_RESET, LZW_LAST = 256, 65535
HUFFMAN_SYMBOLS = 256


def decode(name: str, payload: bytes, n_bytes: int) -> bytes:
    """The `n_bytes` bytes that codec `name` packed into `payload`."""
    if name not in CODECS:
        raise UnsupportedError(f"codec {name!r} is not known")
    if n_bytes == 0:
        require(len(payload) == 0, f"codec {name}: {len(payload)} bytes for empty data")
        return b""
    data = CODECS[name](payload, n_bytes)
    require(len(data) == n_bytes, f"codec {name}: gave {len(data)} bytes of {n_bytes}")
    return data


def decode_raw(payload: bytes, n_bytes: int) -> bytes:
    return payload


def decode_constant(payload: bytes, n_bytes: int) -> bytes:
    require(len(payload) == 1, f"codec constant: payload of {len(payload)} bytes, 1 needed")
    return payload * n_bytes


def decode_zstd(payload: bytes, n_bytes: int) -> bytes:
    header = zstd.read_header(Cursor(payload, "codec zstd"))
    require(not header.has_checksum, "codec zstd: the frame has a checksum")
    limit = max(8 << 20, n_bytes)
    require(header.window <= limit, f"codec zstd: window of {header.window} bytes, at most {limit}")
    return zstd.decompress(payload, n_bytes)


def decode_huffman(payload: bytes, n_bytes: int) -> bytes:
    cursor = Cursor(payload, "codec huffman")
    form = cursor.u8()
    if form == 0:
        symbol = cursor.take(1)
        cursor.finish()
        return symbol * n_bytes
    require(form in (1, 4), f"codec huffman: form {form}")
    decoding = _canonical_codes(_read_code_lengths(cursor))
    sizes = [cursor.varint() for _ in range(form - 1)]
    parts = [cursor.take(size) for size in sizes] + [cursor.rest()]
    bounds = [n_bytes * part // form for part in range(form + 1)]
    return b"".join(
        _huffman_stream(decoding, part, stop - start)
        for part, start, stop in zip(parts, bounds, bounds[1:], strict=False)
    )


def _read_code_lengths(cursor: Cursor) -> list[int]:
    """The code length of each symbol up to the one that completes the code; 0: no code."""
    nibbles = _Nibbles(cursor)
    lengths: list[int] = []
    space = 1 << 12  # in units of 2**-12
    while space > 0:
        nibble = nibbles.next()
        if nibble <= 12:
            lengths.append(nibble)
            space -= (1 << 12 >> nibble) if nibble else 0
        elif nibble == 13:
            lengths += [0] * (nibbles.next() + 2)
        elif nibble == 14:
            lengths += [0] * (nibbles.next() + 16 * nibbles.next() + 18)
        else:
            raise FormatError("codec huffman: nibble 15 in the table of lengths")
        require(space >= 0, "codec huffman: too many short codes")
        is_within = len(lengths) < HUFFMAN_SYMBOLS or (len(lengths) == HUFFMAN_SYMBOLS and space == 0)
        require(is_within, "codec huffman: the code is not complete at 256 symbols")
    nibbles.finish()
    return lengths


class _Nibbles:
    """Half bytes, the low one first."""

    def __init__(self, cursor: Cursor) -> None:
        self.cursor = cursor
        self.pending: int | None = None

    def next(self) -> int:
        if self.pending is not None:
            nibble, self.pending = self.pending, None
            return nibble
        byte = self.cursor.u8()
        self.pending = byte >> 4
        return byte & 15

    def finish(self) -> None:
        require(not self.pending, "codec huffman: the nibble that fills the table's last byte is not zero")


def _canonical_codes(lengths: list[int]) -> dict[tuple[int, int], int]:
    """Symbol by (length, code)."""
    codes = {}
    code = previous = 0
    for length, symbol in sorted((length, symbol) for symbol, length in enumerate(lengths) if length):
        code <<= length - previous
        codes[length, code] = symbol
        code, previous = code + 1, length
    return codes


def _huffman_stream(codes: dict[tuple[int, int], int], data: bytes, count: int) -> bytes:
    bits = bits_of(data, 8 * len(data), "codec huffman").tolist()
    out = bytearray()
    position = 0
    for _ in range(count):
        length = code = 0
        while (length, code) not in codes:
            require(position < len(bits), "codec huffman: a stream is truncated")
            code = code << 1 | bits[position]
            length, position = length + 1, position + 1
        out.append(codes[length, code])
    bits_of(data, position + 1, "codec huffman: a stream")
    require(bits[position] == 1, "codec huffman: a stream does not end with its mark")
    return bytes(out)


def decode_lzw(payload: bytes, n_bytes: int) -> bytes:
    reader = _LzwCodes(payload)
    out = bytearray()
    starts: list[int] = []  # where the output of each code since the last reset begins
    while len(out) < n_bytes:
        n_codes = len(starts)
        code = reader.next(min(LZW_RESET + n_codes, LZW_LAST))
        if code == LZW_RESET:
            require(n_codes > 0, "codec lzw: a reset follows a reset or the start")
            starts = []
            continue
        start = len(out)
        if code < LZW_RESET:
            out.append(code)
        else:
            _copy_phrase(out, starts, code - LZW_RESET)
        require(len(out) <= n_bytes, f"codec lzw: more than {n_bytes} bytes")
        starts.append(start)
    bits_of(payload, reader.position, "codec lzw")
    return bytes(out)


def _copy_phrase(out: bytearray, starts: list[int], number: int) -> None:
    """Append phrase `number`: the output of code number - 1 and the byte that follows it."""
    end = starts[number] if number < len(starts) else len(out)
    start = starts[number - 1]
    phrase = bytes(out[start : end + 1])
    out += phrase
    if end == len(out) - len(phrase):  # the phrase that this code itself defines
        out += phrase[:1]


class _LzwCodes:
    """Codes of as many bits as the largest possible one has, lowest bit first."""

    def __init__(self, data: bytes) -> None:
        self.data = data
        self.position = 0

    def next(self, largest: int) -> int:
        width = largest.bit_length()
        require(self.position + width <= 8 * len(self.data), "codec lzw: the payload is truncated")
        first = self.position >> 3
        word = int.from_bytes(self.data[first : first + 4], "little")
        code = word >> (self.position & 7) & ((1 << width) - 1)
        require(code <= largest, f"codec lzw: code {code}, at most {largest}")
        self.position += width
        return code


def decode_rans(payload: bytes, n_bytes: int) -> bytes:
    """One A12 stream with a table of its own."""
    cursor = Cursor(payload, "codec rans")
    log2_symbols, n_named = cursor.u8(), cursor.u8()
    require(4 <= log2_symbols <= 7, f"codec rans: 2**{log2_symbols} symbols, 16 to 128 allowed")
    n_symbols = 1 << log2_symbols
    require(1 <= n_named < n_symbols, f"codec rans: {n_named} named bytes for {n_symbols} symbols")
    named = cursor.take(n_named)
    require(len(set(named)) == n_named, "codec rans: a byte has two symbols")
    frequencies = read_frequencies(cursor.take(cursor.varint()), 1, n_symbols, A12.precision, cursor.what)
    require(not any(frequencies[0][1 + n_named :]), "codec rans: a symbol that is no byte has a frequency")

    n_lanes = lanes_of(cursor.u8(), cursor.what)
    n_words, n_escapes = cursor.varint(), cursor.varint()
    states = cursor.array("<u4", n_lanes)
    escapes = np.frombuffer(cursor.take(n_escapes), np.uint8)
    decoder = LaneDecoder(Tables(A12, frequencies, [0]), states, cursor.array("<u2", n_words), cursor.what)
    cursor.finish()
    symbols = decoder.decode(np.zeros(n_bytes, np.int64))
    decoder.finish()
    is_escape = symbols == 0
    require(
        int(is_escape.sum()) == n_escapes, f"codec rans: {n_escapes} escapes for {is_escape.sum()} elements"
    )
    bytes_of_symbols = np.zeros(n_symbols, np.uint8)
    bytes_of_symbols[1 : 1 + n_named] = np.frombuffer(named, np.uint8)
    data = bytes_of_symbols[symbols]
    data[is_escape] = escapes
    return data.tobytes()


CODECS: dict[str, Callable[[bytes, int], bytes]] = {
    "raw": decode_raw,
    "constant": decode_constant,
    "zstd": decode_zstd,
    "huffman": decode_huffman,
    "lzw": decode_lzw,
    "rans": decode_rans,
}
