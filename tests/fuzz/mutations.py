"""Structured changes to inputs, always the same for the same seed."""

from __future__ import annotations

import random
import re
from collections.abc import Callable, Sequence

NUMBERS = (0, 1, 2, 7, 31, 32, 127, 128, 255, 256, 65535, 65536, 1 << 20, (1 << 31) - 1, 1 << 31, 1 << 32)
NUMBERS += (1 << 47, 1 << 48, (1 << 56) - 1, (1 << 63) - 1, 1 << 63, (1 << 64) - 1)
MAX_BYTES = 1 << 17
_DIGITS = re.compile(rb"\d+")
_NESTING = (b"[", b"(", b"\x91", b"\x81\x01", b'{"a":', b"\x08", b"\x0a\x02")

Mutation = Callable[[bytes, random.Random], bytes]


def mutated(data: bytes, others: Sequence[bytes], chance: random.Random) -> bytes:
    """Return data after one to four changes; others: inputs that pieces may come from."""
    for _ in range(chance.choice((1, 1, 1, 2, 4))):
        if chance.random() < 0.1:
            data = _splice(data, chance.choice(others), chance)
        else:
            data = chance.choice(MUTATIONS)(data, chance)
    return data[:MAX_BYTES]


def _flip_bit(data: bytes, chance: random.Random) -> bytes:
    at = chance.randrange(8 * len(data)) if data else 0
    changed = bytearray(data or b"\0")
    changed[at // 8] ^= 1 << at % 8
    return bytes(changed)


def _set_number(data: bytes, chance: random.Random) -> bytes:
    """A number of 1, 2, 4 or 8 bytes in its place."""
    width, at = chance.choice((1, 2, 4, 8)), chance.randrange(len(data) + 1)
    number = chance.choice(NUMBERS) % (1 << 8 * width)
    return data[:at] + number.to_bytes(width, chance.choice(("little", "big"))) + data[at + width :]


def _set_varint(data: bytes, chance: random.Random) -> bytes:
    """A LEB128 number in the place of the one that begins anywhere."""
    at = chance.randrange(len(data) + 1)
    end = at
    while end < len(data) and data[end] >= 128:
        end += 1
    number, coded = chance.choice(NUMBERS), bytearray()
    while number >= 128:
        coded.append(number & 127 | 128)
        number >>= 7
    return data[:at] + bytes((*coded, number)) + data[end + 1 :]


def _set_decimal(data: bytes, chance: random.Random) -> bytes:
    """A decimal number in the place of one of the text's."""
    found = list(_DIGITS.finditer(data))
    if not found:
        return _set_number(data, chance)
    match = chance.choice(found)
    number = str(chance.choice(NUMBERS) * chance.choice((1, 1, 1, -1))).encode()
    return data[: match.start()] + number + data[match.end() :]


def _remove(data: bytes, chance: random.Random) -> bytes:
    begin, length = chance.randrange(len(data) + 1), chance.choice((1, 1, 2, 8, 64))
    return data[:begin] + data[begin + length :]


def _insert(data: bytes, chance: random.Random) -> bytes:
    at, length = chance.randrange(len(data) + 1), chance.choice((1, 1, 2, 8, 64))
    return data[:at] + chance.choice((bytes(length), b"\xff" * length, chance.randbytes(length))) + data[at:]


def _move(data: bytes, chance: random.Random) -> bytes:
    """A piece repeated elsewhere, over what is there or between."""
    begin, length = chance.randrange(len(data) + 1), chance.choice((1, 4, 16, 100))
    at, piece = chance.randrange(len(data) + 1), data[begin : begin + length]
    return data[:at] + piece + data[at + chance.choice((0, len(piece))) :]


def _truncate(data: bytes, chance: random.Random) -> bytes:
    return data[: chance.randrange(len(data) + 1)]


def _nest(data: bytes, chance: random.Random) -> bytes:
    at, times = chance.randrange(len(data) + 1), chance.choice((3, 70, 1100))
    return data[:at] + chance.choice(_NESTING) * times + data[at:]


def _splice(data: bytes, other: bytes, chance: random.Random) -> bytes:
    return data[: chance.randrange(len(data) + 1)] + other[chance.randrange(len(other) + 1) :]


MUTATIONS: tuple[Mutation, ...] = (
    _flip_bit,
    _flip_bit,
    _set_number,
    _set_number,
    _set_varint,
    _set_decimal,
    _remove,
    _insert,
    _move,
    _truncate,
    _nest,
)
