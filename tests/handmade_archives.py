"""Streams and archives written by the rules of docs/format.md, for tests of the reference reader.

The plainest code that follows the document, element by element; nothing here chooses well or is fast.
"""

import hashlib
import json
import struct
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import zstandard

from reference_reader.blake3 import blake3
from reference_reader.codes import NEXT_STATE
from reference_reader.crc32c import crc32c
from reference_reader.float_rows import BF16, F16, FloatFormat
from reference_reader.rans import A8, A12, StreamFormat, slot_map
from reference_reader.tables import TableSets


def flat_frequencies(n_symbols: int, precision: int) -> list[int]:
    """Every symbol possible, symbol 1 the most frequent by far: aliases of all kinds."""
    frequencies = [1 + symbol % 3 for symbol in range(n_symbols)]
    frequencies[1] += (1 << precision) - sum(frequencies)
    return frequencies


def pack_bits(values: list[int], widths: list[int]) -> bytes:
    number = position = 0
    for value, width in zip(values, widths, strict=True):
        number |= value << position
        position += width
    return number.to_bytes((position + 7) // 8, "little")


def pack_frequencies(tables: list[list[int]]) -> bytes:
    values, widths = [], []
    for frequency in (frequency for table in tables for frequency in table):
        n_bits = frequency.bit_length()
        values += [n_bits, frequency & ~(1 << max(n_bits - 1, 0))]
        widths += [4, max(n_bits - 1, 0)]
    return pack_bits(values, widths)


def varint(value: int) -> bytes:
    data = bytearray()
    while value >= 0x80:
        data.append(value & 0x7F | 0x80)
        value >>= 7
    return bytes([*data, value])


def zigzag(value: int) -> bytes:
    return varint(2 * value if value >= 0 else -2 * value - 1)


def encode(
    symbols: Any, numbers: Any, tables: list[list[int]], form: StreamFormat, n_lanes: int
) -> tuple[bytes, bytes]:
    """(states, words): section 5.2's encoder, from the last element to the first."""
    slots = [
        {pair: slot for slot, pair in enumerate(zip(*slot_map(table, form.precision), strict=True))}
        for table in tables
    ]
    state_bits = 8 * np.dtype(form.state_type).itemsize
    states, words = [form.lower_bound] * n_lanes, []
    for index in reversed(range(len(symbols))):
        symbol, number, x = int(symbols[index]), int(numbers[index]), states[index % n_lanes]
        frequency = tables[number][symbol]
        if x >= frequency << (state_bits - form.precision):
            words.append(x & ((1 << form.word_bits) - 1))
            x >>= form.word_bits
        x = x // frequency << form.precision | slots[number][symbol, x % frequency]
        states[index % n_lanes] = x
    return np.array(states, form.state_type).tobytes(), np.array(words[::-1], form.word_type).tobytes()


SIDE = [flat_frequencies(64, 12)] * 6
SIDE_RAW_BITS = [0, 0, 2, 0, 1, 3]
GRID = [flat_frequencies(16, 12), flat_frequencies(16, 12)[::-1]]
GRID_RAW_BITS = [0, 2]
FLOAT12 = [flat_frequencies(64, 12)] * 16
FLOAT8 = [flat_frequencies(16, 8)] * 16
RECORDS = [
    ["side", 64, 12, bytes(SIDE_RAW_BITS), pack_frequencies(SIDE), 0, b""],
    ["grid", 16, 12, bytes(GRID_RAW_BITS), pack_frequencies(GRID), -1, b"\0\1\1\0\0\1"],
    ["float12", 64, 12, bytes(16), pack_frequencies(FLOAT12), 0, b""],
    ["float8", 16, 8, bytes(16), pack_frequencies(FLOAT8), 0, b""],
]
SETS = TableSets(RECORDS)


def split(codes: list[int], raw_bits: list[int], n_symbols: int) -> tuple[list[int], bytes, bytes]:
    """Symbols, raw bits and escapes of signed integers (5.4)."""
    highs = [code >> r for code, r in zip(codes, raw_bits, strict=True)]
    low = pack_bits([code % (1 << r) for code, r in zip(codes, raw_bits, strict=True)], raw_bits)
    symbols = [high + n_symbols // 2 if 0 < high + n_symbols // 2 < n_symbols else 0 for high in highs]
    escapes = b"".join(zigzag(high) for high, symbol in zip(highs, symbols, strict=True) if symbol == 0)
    return symbols, low, escapes


def write_integers(values: list[int], table: int, log2_lanes: int = 1) -> bytes:
    if len(set(values)) <= 1:
        return b"\0" + zigzag(values[0] if values else 0)
    codes = [value - values[0] for value in values]
    symbols, low, escapes = split(codes, [SIDE_RAW_BITS[table]] * len(values), 64)
    states, stream = encode(symbols, [table] * len(values), SIDE, A12, 1 << log2_lanes)
    head = bytes([1 + log2_lanes]) + zigzag(values[0]) + varint(len(stream) // 2) + varint(len(escapes))
    return head + states + low + escapes + stream


def write_codes(
    codes: np.ndarray,
    row_classes: list[int],
    column_classes: list[int],
    restart: int,
    n_streams: int,
    log2_lanes: int,
) -> bytes:
    """A code payload (5.6) with table set 1. restart: 0 for plain codes."""
    unit, class_map = max(1, restart), RECORDS[1][6]
    n_units = -(-len(codes) // unit)
    half = len(class_map) // 2 if restart else len(class_map)
    heads, parts = b"", ([], [], [], [])
    for stream in range(n_streams):
        states = np.zeros(codes.shape[1], int)
        values, numbers = [], []
        first, last = (unit * (n * n_units // n_streams) for n in (stream, stream + 1))
        for row in range(first, min(last, len(codes))):
            states = states * (row % unit != 0)
            for column, code in enumerate(codes[row].tolist()):
                place = min(max(row_classes[row] + column_classes[column] + 1, 0), half - 1)
                numbers.append(class_map[place + half * (int(states[column]) % 2 if restart else 0)])
                values.append(code)
            states = NEXT_STATE[states, codes[row] % 2]
        symbols, low, escapes = split(values, [GRID_RAW_BITS[number] for number in numbers], 16)
        final, stream_words = encode(symbols, numbers, GRID, A12, 1 << log2_lanes)
        heads += varint(len(stream_words) // 2) + varint(len(escapes)) + varint(len(low))
        for part, data in zip(parts, (final, low, escapes, stream_words), strict=True):
            part.append(data)
    return bytes([n_streams, log2_lanes]) + heads + b"".join(b"".join(part) for part in parts)


def write_float_rows(
    values: np.ndarray, form: FloatFormat, fast: bool, classes: list[int], row_length: int, n_streams: int
) -> bytes:
    """A float-row payload (5.5), shape class 2, base -3, 4 lanes."""
    n_top, tables, stream_format = (0, FLOAT8, A8) if fast else (2, FLOAT12, A12)
    n_low = form.mantissa_bits - n_top
    rows = np.arange(len(values)) // row_length
    shift = form.bias - 3 + (np.array(classes, int)[rows] >> 2) - 12
    u = (values.astype(int) - (shift << form.mantissa_bits)) & 0xFFFF
    x = u >> n_low & ((1 << form.exponent_bits + n_top) - 1)
    symbols = np.where((x > 0) & (x < len(tables[0])), x, 0)
    numbers = 8 + (np.array(classes, int)[rows] & 3)
    lengths, states, escapes, stream_words = b"", b"", b"", b""
    for stream in range(n_streams):
        low, high = (n * len(classes) // n_streams for n in (stream, stream + 1))
        mine = (rows >= low) & (rows < high)
        final, part = encode(symbols[mine], numbers[mine], tables, stream_format, 4)
        escaped = b""
        for field in x[mine & (symbols == 0)].tolist():
            d = -(field >> 2) % (1 << form.exponent_bits)
            escaped += (
                bytes([field]) if fast else bytes([min(d, 63) * 4 + field % 4]) + bytes([d] * (d >= 63))
            )
        lengths += varint(len(part) // (1 if fast else 2)) + varint(len(escaped))
        states, escapes, stream_words = states + final, escapes + escaped, stream_words + part
    raw = pack_bits(((u & (1 << n_low) - 1) | u >> 15 << n_low).tolist(), [n_low + 1] * len(values))
    head = (
        bytes([fast, 2])
        + zigzag(-3)
        + varint(row_length)
        + bytes([n_streams, 2])
        + write_integers(classes, 0)
    )
    return head + lengths + states + raw + escapes + stream_words


LAYOUTS = ["dense/1", "grid/1", "alias/1", "future/1"]
COLUMN_EXPONENTS = [0, 1, -7, 2, 3] * 13
COLUMN_CLASSES = [1, 0, -1, 0, 1] * 13
ROW_EXPONENTS = [-40, 3, 5, 8, -2, 1, 0]
ROW_CLASSES = [0, 1, -1, 2, 0, 0, 1]


CODEBOOK = (-1.7, -0.25, 0.0, 1.3)


def dense_record(
    array: np.ndarray, dtype: str, block_rows: int, block_columns: int
) -> tuple[list[Any], bytes]:
    matrix = np.atleast_2d(array).reshape(-1, array.shape[-1] if array.ndim else 1)
    blocks = [
        np.ascontiguousarray(matrix[row : row + block_rows, column : column + block_columns]).tobytes()
        for row in range(0, matrix.shape[0], block_rows)
        for column in range(0, matrix.shape[1], block_columns)
        if matrix.size
    ]
    lengths = b"".join(varint(2 + len(block)) for block in blocks)
    checksums = b"".join(struct.pack("<I", crc32c(block)) for block in blocks)
    sizes = (block_rows, block_columns) if blocks else (0, 0)
    digest = blake3(array.tobytes())
    record = [dtype, list(array.shape), 0, None, digest, 0, *sizes, lengths, checksums]
    return record, b"".join(b"\0\0" + block for block in blocks)


def grid_record(
    codes: np.ndarray,
    dtype: str,
    *,
    group_size: int = 0,
    restart: int = 0,
    transposed: bool = False,
    codebook: tuple[float, ...] = (),
) -> tuple[list[Any], bytes]:
    """A grid of one block; the zero point and scale of group g in row i are g - 1 and (i + 1) / 2."""
    n_rows, n_columns = codes.shape
    columns = COLUMN_EXPONENTS[:n_columns], COLUMN_CLASSES[:n_columns]
    rows = ROW_EXPONENTS[:n_rows], ROW_CLASSES[:n_rows]
    n_groups = n_columns // group_size if group_size else 0
    scales = np.repeat(np.arange(1, n_rows + 1) / 2, n_groups).astype("<f2").tobytes()
    zero_points = [group - 1 for _ in range(n_rows) for group in range(n_groups)]
    stored_codebook = np.array(codebook, "<f4").tobytes()
    head = write_integers(columns[0], 2) + write_integers(columns[1], 4) + stored_codebook
    block = write_integers(rows[0], 1) + write_integers(rows[1], 3)
    if group_size:
        block += scales + write_integers(zero_points, 5)
    block += write_codes(codes, rows[1], columns[1], restart, 2, 3)
    head_checked = np.array(columns, "<i2").tobytes() + stored_codebook
    checked = codes.astype("<i4").tobytes() + np.array(rows, "<i2").tobytes() + scales
    checked += np.array(zero_points, "<i4").tobytes()
    shape = [n_columns, n_rows] if transposed else [n_rows, n_columns]
    meta = [int(transposed), 1, group_size, "F16" if group_size else "", len(codebook), restart]
    checksums = struct.pack("<II", crc32c(head_checked), crc32c(checked))
    record = [dtype, shape, 1, meta, None, len(head), n_rows, n_columns, varint(len(block)), checksums]
    return record, head + block


def expected_grid(
    codes: np.ndarray, *, group_size: int = 0, restart: int = 0, codebook: tuple[float, ...] = ()
) -> np.ndarray:
    """The values in exact arithmetic (float64), which these small numbers allow up to the last factor."""
    levels = np.array(codebook, np.float32)[codes].astype(float) if codebook else codes.astype(float)
    states = np.zeros(codes.shape[1], int)
    for row in range(len(codes) if restart else 0):
        states = states * (row % restart != 0)
        levels[row] = 2 * codes[row] - np.sign(codes[row]) * (states % 2)
        states = NEXT_STATE[states, codes[row] % 2]
    if group_size:
        groups = np.arange(codes.shape[1]) // group_size
        levels = (levels - (groups - 1)) * (np.arange(1, len(codes) + 1) / 2)[:, None]
    exponents = np.add.outer(ROW_EXPONENTS[: len(codes)], COLUMN_EXPONENTS[: codes.shape[1]])
    roots = (2.0 ** (np.arange(4) / 4)).astype(np.float32).astype(float)
    return (levels * roots[exponents & 3] * 2.0 ** (exponents >> 2)).astype(np.float32)


def archive_bytes(
    tensors: dict[str, tuple[list[Any], bytes]], files: list[Any], folder: Any, **changes: Any
) -> bytes:
    """One archive file."""
    index = [
        "test",
        LAYOUTS,
        ["raw"],
        RECORDS,
        [record for record, _ in tensors.values()],
        files,
        {"seed": 1},
        folder,
    ]
    for number, value in changes.get("index", {}).items():
        index[number] = value
    packed = msgspec.msgpack.encode(index)
    frame = zstandard.ZstdCompressor().compress(packed)
    streams = {"tersor.index": ([], bytes(20) + frame)}
    streams.update((name, (record[1], stream)) for name, (record, stream) in tensors.items())
    header: dict[str, Any] = {"__metadata__": {"format": "pt", "tersor": "1"}}
    end = 0
    for name, (shape, stream) in streams.items():
        size = [1, len(stream)] if shape == [len(stream)] else [len(stream)]
        header[name] = {"dtype": "U8", "shape": size, "data_offsets": [end, end + len(stream)]}
        end += len(stream)
    text = json.dumps(header, separators=(",", ":"), ensure_ascii=False).encode()
    text += b" " * (-len(text) % 8)
    front = struct.pack("<Q", len(text)) + text
    head = struct.pack(
        "<6sBBIII", b"tersor", changes.get("version", 1), 0, len(packed), crc32c(frame), crc32c(front)
    )
    return front + head + frame + b"".join(stream for _, stream in tensors.values())


DENSE = np.arange(2 * 3 * 40, dtype="<f4").reshape(2, 3, 40)
CODES = np.round(np.random.RandomState(8).standard_cauchy((7, 65)) * 3).astype(np.int64)


def sample_tensors() -> dict[str, tuple[list[Any], bytes]]:
    alias = ["F32", [2, 3, 40], 2, 0, None, 0, 0, 0, b"", b""]
    return {
        "dense": dense_record(DENSE, "F32", 4, 32),
        "scalar": dense_record(np.array(7, "<i8"), "I64", 1, 1),
        "empty ∅": dense_record(np.zeros((0, 5), "<u2"), "BF16", 1, 5),
        "tied": (alias, b""),
        "plain": grid_record(CODES, "F32"),
        "grouped": grid_record(CODES, "F64", group_size=13, transposed=True),
        "trellis": grid_record(CODES, "F32", restart=3),
        "codebook": grid_record(np.abs(CODES) % 4, "BF16", codebook=CODEBOOK),
        "future": (["F32", [2], 3, None, None, 0, 0, 0, b"", b""], b""),
    }


WORDS = np.random.RandomState(9).permutation(1 << 16)[:300].astype("<u2")
FORMS = {"BF16": (0, BF16), "F16": (1, F16)}  # float unit and format of a dtype


def stored_record(dtype: str, shape: list[int], data: bytes, stored: bytes) -> tuple[list[Any], bytes]:
    """A dense tensor of one block, which is `stored` in whatever form and decodes to `data`."""
    n_rows = int(np.prod(shape[:-1]))
    checksum = struct.pack("<I", crc32c(data))
    record = [dtype, shape, 0, None, blake3(data)[:20], 0, n_rows, shape[-1], varint(len(stored)), checksum]
    return record, stored


def float_arrays() -> dict[str, tuple[str, np.ndarray]]:
    """Name -> dtype and values of `float_tensors`; BF16 as uint16 of the same bits."""
    arrays = {
        f"{dtype} {coder}": (dtype, WORDS.reshape(6, 50).view("<u2" if dtype == "BF16" else "<f2"))
        for dtype in FORMS
        for coder in ("balanced", "fast")
    }
    return arrays | {
        "F32": ("F32", WORDS.view("<f4").reshape(150)),
        "floats in bytes": ("U8", np.frombuffer(WORDS.tobytes() + b"!", np.uint8)),
        "planes": ("U8", np.frombuffer(b"abcdefghijk", np.uint8)),
    }


def float_tensors() -> dict[str, tuple[list[Any], bytes]]:
    """Dense tensors in the forms that `dense_record` does not use: planes, and float rows of every unit and coder."""
    rows = {
        (dtype, coder): write_float_rows(WORDS, form, coder == "fast", [-9, 0, 3, 30], 77, 3)
        for dtype, (_, form) in FORMS.items()
        for coder in ("balanced", "fast")
    }
    upper = write_float_rows(WORDS[1::2], BF16, True, [1, 2, 3], 64, 2)
    low = [WORDS.tobytes()[plane::4] for plane in (0, 1)]
    stored = {
        f"{dtype} {coder}": bytes([2, FORMS[dtype][0]]) + payload for (dtype, coder), payload in rows.items()
    }
    stored["F32"] = b"\2\2" + varint(len(upper)) + (b"\0" + varint(150)) * 2 + upper + b"".join(low)
    stored["floats in bytes"] = b"\2\1" + rows["F16", "fast"] + b"!"
    stored["planes"] = b"\1\3" + b"\0\3" * 3 + b"adgbehcfi" + b"jk"
    return {
        name: stored_record(dtype, list(array.shape), array.tobytes(), stored[name])
        for name, (dtype, array) in float_arrays().items()
    }


def file_record(path: str, data: bytes, last: Any) -> list[Any]:
    return [path, len(data), hashlib.sha256(data).digest(), last]


def write_folder(root: Path) -> None:
    """A folder of two archive files, a changed config.json and an unchanged text."""
    plain = np.frombuffer(b"some notes", np.uint8)
    shard = archive_bytes(
        {"notes": dense_record(plain, "U8", 1, 10)}, [file_record("sub/notes", b"some notes", [0])], None
    )
    (root / "sub").mkdir()
    (root / "sub" / "notes.tersor.safetensors").write_bytes(shard)
    (root / "config.json").write_bytes(b'{"changed": true}')
    (root / "vocab.txt").write_bytes(b"words")
    n_front = 8 + struct.unpack_from("<Q", shard)[0]
    folder = [
        False,
        [["sub/notes.tersor.safetensors", struct.unpack_from("<I", shard, n_front + 12)[0]]],
        [file_record("config.json", b"{}", b"{}"), file_record("vocab.txt", b"words", None)],
        ["void"],
        True,
    ]
    original = b"header" + DENSE.tobytes() + b"!"
    files = [file_record("model.safetensors", original, [b"header", 0, b"!"])]
    data = archive_bytes(sample_tensors() | float_tensors(), files, folder)
    (root / "model.tersor.safetensors").write_bytes(data)


def small_archive() -> bytes:
    tensors = {
        "d": dense_record(DENSE[0, :, :3], "F32", 3, 3),
        "g": grid_record(CODES[:3, :5], "F32", group_size=5, restart=2),
    }
    return archive_bytes(tensors, [], None, index={3: RECORDS[:2]})
