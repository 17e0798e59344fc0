"""Zstandard frames (RFC 8878, section 3): one frame, no dictionary."""

from dataclasses import dataclass, field

from .cursor import Cursor
from .errors import FormatError, require
from .xxh64 import xxh64
from .zstd_entropy import (
    BackwardBits,
    FseTable,
    HuffmanTable,
    build_fse,
    decode_huffman,
    read_fse,
    read_huffman,
)

MAGIC = 0xFD2FB528
MAX_BLOCK = 128 * 1024
RAW, RLE, COMPRESSED = 0, 1, 2
LITERALS_RAW, LITERALS_RLE, LITERALS_COMPRESSED = 0, 1, 2
PREDEFINED, ONE_SYMBOL, DESCRIBED = 0, 1, 2

LENGTH_EXTRA = [0] * 16 + [1] * 4 + [2, 2, 3, 3, 4, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 16]
MATCH_EXTRA = [0] * 32 + [1] * 4 + [2, 2, 3, 3, 4, 4, 5, 7, 8, 9, 10, 11, 12, 13, 14, 15, 16]


def _bases(extra_bits: list[int], start: int) -> list[int]:
    """The smallest value of each code: codes follow each other without gaps."""
    bases = [start]
    for bits in extra_bits[:-1]:
        bases.append(bases[-1] + (1 << bits))
    return bases


LENGTH_BASE = _bases(LENGTH_EXTRA, 0)
MATCH_BASE = _bases(MATCH_EXTRA, 3)


@dataclass(frozen=True)
class Kind:
    """One of the three coded numbers of a sequence (3.1.1.3.2)."""

    name: str
    max_accuracy: int
    n_symbols: int
    predefined: FseTable


LENGTHS = Kind("literals length", 9, 36, build_fse(6, [
    4, 3, 2, 2, 2, 2, 2, 2, 2, 2, 2, 2, 2, 1, 1, 1, 2, 2, 2, 2, 2, 2, 2, 2, 2, 3, 2, 1, 1, 1, 1, 1, -1, -1, -1, -1,
]))  # fmt: skip
OFFSETS = Kind("offset", 8, 32, build_fse(5, [
    1, 1, 1, 1, 1, 1, 2, 2, 2, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, -1, -1, -1, -1, -1,
]))  # fmt: skip
MATCHES = Kind("match length", 9, 53, build_fse(6, [
    1, 4, 3, 2, 2, 2, 2, 2, 2, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1,
    1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, -1, -1, -1, -1, -1, -1, -1,
]))  # fmt: skip


@dataclass(frozen=True)
class Header:
    """Window size, content size (None if not stated), whether a checksum follows the blocks."""

    window: int
    content_size: int | None
    has_checksum: bool


@dataclass
class Frame:
    """What one block leaves to the next: output, tables, the last three offsets."""

    window: int
    limit: int
    out: bytearray = field(default_factory=bytearray)
    huffman: HuffmanTable | None = None
    tables: dict[str, FseTable] = field(default_factory=dict)
    recent: list[int] = field(default_factory=lambda: [1, 4, 8])

    def room_for(self, n_bytes: int) -> None:
        total = len(self.out) + n_bytes
        require(total <= self.limit, f"zstd: frame holds at least {total} bytes, {self.limit} expected")


def decompress(data: bytes, n_bytes: int) -> bytes:
    """The content of the frame that `data` is; it must state its size, which must be `n_bytes`."""
    cursor = Cursor(data, "zstd frame")
    header = read_header(cursor)
    require(header.content_size == n_bytes, f"zstd: content size {header.content_size}, {n_bytes} expected")
    frame = Frame(header.window, n_bytes)
    is_last = False
    while not is_last:
        is_last = _read_block(cursor, frame)
    require(len(frame.out) == n_bytes, f"zstd: frame gave {len(frame.out)} bytes of {n_bytes}")
    if header.has_checksum:
        require(cursor.u32() == xxh64(bytes(frame.out)) & 0xFFFFFFFF, "zstd: content checksum is wrong")
    cursor.finish()
    return bytes(frame.out)


def read_header(cursor: Cursor) -> Header:
    """The frame header (3.1.1.1)."""
    magic = cursor.u32()
    require(magic == MAGIC, f"zstd: magic number 0x{magic:08x}, 0x{MAGIC:08x} expected")
    descriptor = cursor.u8()
    require(descriptor & 24 == 0, "zstd: the reserved or the unused bit of the frame header is set")
    is_single = bool(descriptor & 0x20)
    window = 0
    if not is_single:
        byte = cursor.u8()
        window = (1 << (10 + (byte >> 3))) * (8 + (byte & 7)) // 8
    dictionary = int.from_bytes(cursor.take((0, 1, 2, 4)[descriptor & 3]), "little")
    require(dictionary == 0, f"zstd: frame needs dictionary {dictionary}")
    size_bytes = (1 if is_single else 0, 2, 4, 8)[descriptor >> 6]
    content_size = None
    if size_bytes:
        content_size = int.from_bytes(cursor.take(size_bytes), "little") + (256 if size_bytes == 2 else 0)
    if is_single and content_size is not None:
        window = content_size
    return Header(window, content_size, bool(descriptor & 4))


def _read_block(cursor: Cursor, frame: Frame) -> bool:
    """Append one block to the output; true if it is the last (3.1.1.2)."""
    header = int.from_bytes(cursor.take(3), "little")
    kind, size = header >> 1 & 3, header >> 3
    limit = min(MAX_BLOCK, max(frame.window, 1))
    require(size <= limit, f"zstd: block of {size} bytes, at most {limit}")
    if kind == RAW:
        frame.room_for(size)
        frame.out += cursor.take(size)
    elif kind == RLE:
        frame.room_for(size)
        frame.out += cursor.take(1) * size
    elif kind == COMPRESSED:
        start = len(frame.out)
        _decode_compressed(Cursor(cursor.take(size), "zstd block"), frame)
        require(len(frame.out) - start <= MAX_BLOCK, f"zstd: a block gave more than {MAX_BLOCK} bytes")
    else:
        raise FormatError("zstd: reserved block type 3")
    return bool(header & 1)


def _decode_compressed(cursor: Cursor, frame: Frame) -> None:
    literals = _read_literals(cursor, frame)
    n_sequences = _read_n_sequences(cursor)
    if n_sequences == 0:
        cursor.finish()
        frame.room_for(len(literals))
        frame.out += literals
        return
    modes = cursor.u8()
    require(modes & 3 == 0, "zstd: reserved sequence mode bits are set")
    for kind, shift in ((LENGTHS, 6), (OFFSETS, 4), (MATCHES, 2)):
        _read_table(cursor, frame, kind, modes >> shift & 3)
    used = _run_sequences(BackwardBits(cursor.rest()), n_sequences, literals, frame)
    frame.room_for(len(literals) - used)
    frame.out += literals[used:]


def _read_literals(cursor: Cursor, frame: Frame) -> bytes:
    """The literals section (3.1.1.3.1)."""
    first = cursor.data[cursor.position] if cursor.left else 0
    kind, size_format = first & 3, first >> 2 & 3
    if kind in (LITERALS_RAW, LITERALS_RLE):
        n_header = (1, 2, 1, 3)[size_format]
        size = int.from_bytes(cursor.take(n_header), "little") >> (3 if n_header == 1 else 4)
        require(size <= MAX_BLOCK, f"zstd: {size} literals in a block")
        return cursor.take(size) if kind == LITERALS_RAW else cursor.take(1) * size
    n_header, width = ((3, 10), (3, 10), (4, 14), (5, 18))[size_format]
    header = int.from_bytes(cursor.take(n_header), "little") >> 4
    size, n_coded = header & ((1 << width) - 1), header >> width
    require(size <= MAX_BLOCK, f"zstd: {size} literals in a block")
    coded = cursor.take(n_coded)
    if kind == LITERALS_COMPRESSED:
        frame.huffman, n_tree = read_huffman(coded)
        coded = coded[n_tree:]
    require(frame.huffman is not None, "zstd: literals repeat a Huffman tree that no block gave")
    assert frame.huffman is not None
    if size_format == 0:
        return decode_huffman(frame.huffman, coded, size)
    return _decode_four_streams(frame.huffman, coded, size)


def _decode_four_streams(table: HuffmanTable, coded: bytes, size: int) -> bytes:
    cursor = Cursor(coded, "zstd literals")
    lengths = [cursor.u16() for _ in range(3)]
    each = (size + 3) // 4
    require(3 * each <= size, f"zstd: {size} literals in four streams")
    parts = [decode_huffman(table, cursor.take(length), each) for length in lengths]
    parts.append(decode_huffman(table, cursor.rest(), size - 3 * each))
    return b"".join(parts)


def _read_n_sequences(cursor: Cursor) -> int:
    first = cursor.u8()
    if first < 128:
        return first
    if first < 255:
        return (first - 128 << 8) + cursor.u8()
    return cursor.u16() + 0x7F00


def _read_table(cursor: Cursor, frame: Frame, kind: Kind, mode: int) -> None:
    """Set the frame's table of one kind as its mode says (3.1.1.3.2.1)."""
    if mode == PREDEFINED:
        frame.tables[kind.name] = kind.predefined
    elif mode == ONE_SYMBOL:
        symbol = cursor.u8()
        require(symbol < kind.n_symbols, f"zstd: {kind.name} code {symbol}")
        frame.tables[kind.name] = FseTable.of_one(symbol)
    elif mode == DESCRIBED:
        rest = cursor.data[cursor.position :]
        frame.tables[kind.name], n_bytes = read_fse(rest, kind.max_accuracy, kind.n_symbols)
        cursor.take(n_bytes)
    else:
        require(kind.name in frame.tables, f"zstd: repeats a {kind.name} table that no block gave")


def _run_sequences(bits: BackwardBits, n_sequences: int, literals: bytes, frame: Frame) -> int:
    """Decode and carry out the sequences (3.1.1.4); returns how many literals they used."""
    lengths, offsets, matches = (frame.tables[kind.name] for kind in (LENGTHS, OFFSETS, MATCHES))
    length_state = bits.read(lengths.accuracy)
    offset_state = bits.read(offsets.accuracy)
    match_state = bits.read(matches.accuracy)
    used = 0
    for index in range(n_sequences):
        offset_code = offsets.symbols[offset_state]
        match_code = matches.symbols[match_state]
        length_code = lengths.symbols[length_state]
        offset_value = (1 << offset_code) + bits.read(offset_code)
        match_length = MATCH_BASE[match_code] + bits.read(MATCH_EXTRA[match_code])
        length = LENGTH_BASE[length_code] + bits.read(LENGTH_EXTRA[length_code])
        require(bits.position >= 0, "zstd: sequences are truncated")
        require(used + length <= len(literals), "zstd: sequences need more literals than there are")
        frame.room_for(length + match_length)
        frame.out += literals[used : used + length]
        used += length
        _copy_match(frame, _next_offset(frame.recent, offset_value, length), match_length)
        if index < n_sequences - 1:
            length_state = lengths.step(length_state, bits)
            match_state = matches.step(match_state, bits)
            offset_state = offsets.step(offset_state, bits)
    bits.finish()
    return used


def _next_offset(recent: list[int], value: int, length: int) -> int:
    """The offset that a value stands for; the recent offsets are updated (3.1.1.5)."""
    if value > 3:
        recent[:] = [value - 3, recent[0], recent[1]]
        return recent[0]
    index = value - 1 + (length == 0)
    offset = recent[index] if index < 3 else recent[0] - 1
    require(offset > 0, "zstd: offset 0")
    if index > 0:
        recent[:] = [offset, recent[0], recent[1] if index > 1 else recent[2]]
    return offset


def _copy_match(frame: Frame, offset: int, length: int) -> None:
    reach = min(len(frame.out), frame.window)
    require(offset <= reach, f"zstd: offset {offset} reaches before the window of {reach} bytes")
    start = len(frame.out) - offset
    pattern = bytes(frame.out[start : start + length])
    frame.out += (pattern * (length // len(pattern) + 1))[:length]
