"""MessagePack (the specification at msgpack.org), the types that docs/format.md section 3 uses: no extensions."""

import struct
from typing import Any

from .cursor import Cursor
from .errors import FormatError, require

MAX_DEPTH = 64
NUMBERS = {
    0xCA: ">f", 0xCB: ">d", 0xCC: ">B", 0xCD: ">H", 0xCE: ">I", 0xCF: ">Q",
    0xD0: ">b", 0xD1: ">h", 0xD2: ">i", 0xD3: ">q",
}  # fmt: skip
CONSTANTS = {0xC0: None, 0xC2: False, 0xC3: True}
BINARY_LENGTHS = {0xC4: 1, 0xC5: 2, 0xC6: 4}
TEXT_LENGTHS = {0xD9: 1, 0xDA: 2, 0xDB: 4}
ARRAY_LENGTHS = {0xDC: 2, 0xDD: 4}
MAP_LENGTHS = {0xDE: 2, 0xDF: 4}


def unpack(data: bytes) -> Any:
    """The one MessagePack value that `data` is."""
    cursor = Cursor(data, "MessagePack")
    value = _value(cursor, 0)
    cursor.finish()
    return value


def _value(cursor: Cursor, depth: int) -> Any:
    require(depth < MAX_DEPTH, f"MessagePack: nested deeper than {MAX_DEPTH}")
    byte = cursor.u8()
    if byte < 0x80:
        return byte
    if byte >= 0xE0:
        return byte - 0x100
    if byte < 0x90:
        return _map(cursor, byte & 0x0F, depth)
    if byte < 0xA0:
        return _array(cursor, byte & 0x0F, depth)
    if byte < 0xC0:
        return _text(cursor, byte & 0x1F)
    if byte in CONSTANTS:
        return CONSTANTS[byte]
    if byte in NUMBERS:
        return struct.unpack(NUMBERS[byte], cursor.take(struct.calcsize(NUMBERS[byte])))[0]
    return _sized_value(cursor, byte, depth)


def _sized_value(cursor: Cursor, byte: int, depth: int) -> Any:
    if byte in BINARY_LENGTHS:
        return cursor.take(_length(cursor, BINARY_LENGTHS[byte]))
    if byte in TEXT_LENGTHS:
        return _text(cursor, _length(cursor, TEXT_LENGTHS[byte]))
    if byte in ARRAY_LENGTHS:
        return _array(cursor, _length(cursor, ARRAY_LENGTHS[byte]), depth)
    if byte in MAP_LENGTHS:
        return _map(cursor, _length(cursor, MAP_LENGTHS[byte]), depth)
    raise FormatError(f"MessagePack: type 0x{byte:02x} has no place in an index")


def _length(cursor: Cursor, n_bytes: int) -> int:
    return int.from_bytes(cursor.take(n_bytes), "big")


def _text(cursor: Cursor, n_bytes: int) -> str:
    try:
        return cursor.take(n_bytes).decode("utf-8")
    except UnicodeDecodeError as exc:
        raise FormatError(f"MessagePack: a str is not UTF-8: {exc}") from exc


def _array(cursor: Cursor, length: int, depth: int) -> list[Any]:
    require(length <= cursor.left, f"MessagePack: array of {length} in {cursor.left} bytes")
    return [_value(cursor, depth + 1) for _ in range(length)]


def _map(cursor: Cursor, length: int, depth: int) -> dict[Any, Any]:
    require(2 * length <= cursor.left, f"MessagePack: map of {length} in {cursor.left} bytes")
    pairs = {}
    for _ in range(length):
        key = _value(cursor, depth + 1)
        require(isinstance(key, str | int), f"MessagePack: map key {key!r} is neither str nor int")
        require(key not in pairs, f"MessagePack: map key {key!r} appears twice")
        pairs[key] = _value(cursor, depth + 1)
    return pairs
