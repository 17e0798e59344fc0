"""Reading bytes and bits with bounds (docs/format.md, "Conventions")."""

import struct

import numpy as np

from .errors import FormatError, require

MAX_VARINT_BYTES = 10


class Cursor:
    """A position in a byte string; every read is checked against its end."""

    def __init__(self, data: bytes, what: str) -> None:
        self.data = bytes(data)
        self.what = what
        self.position = 0

    @property
    def left(self) -> int:
        return len(self.data) - self.position

    def take(self, n_bytes: int) -> bytes:
        """The next `n_bytes` bytes."""
        if n_bytes > self.left:
            raise FormatError(
                f"{self.what}: needs {n_bytes} bytes at offset {self.position}, {self.left} are left"
            )
        self.position += n_bytes
        return self.data[self.position - n_bytes : self.position]

    def rest(self) -> bytes:
        """Everything that is left."""
        return self.take(self.left)

    def finish(self) -> None:
        """Reject bytes that nobody read."""
        require(self.left == 0, f"{self.what}: {self.left} bytes left over")

    def u8(self) -> int:
        return self.take(1)[0]

    def u16(self) -> int:
        return int(struct.unpack("<H", self.take(2))[0])

    def u32(self) -> int:
        return int(struct.unpack("<I", self.take(4))[0])

    def u64(self) -> int:
        return int(struct.unpack("<Q", self.take(8))[0])

    def varint(self) -> int:
        """An unsigned LEB128 integer in its shortest form, below 2**64."""
        value = 0
        for index in range(MAX_VARINT_BYTES):
            byte = self.u8()
            value |= (byte & 0x7F) << (7 * index)
            if byte < 0x80:
                require(index == 0 or byte != 0, f"{self.what}: varint is not in its shortest form")
                require(value < 1 << 64, f"{self.what}: varint {value} does not fit 64 bits")
                return value
        raise FormatError(f"{self.what}: varint is longer than {MAX_VARINT_BYTES} bytes")

    def signed_varint(self) -> int:
        """A zigzag varint: 0, -1, 1, -2, 2, ... for 0, 1, 2, 3, 4, ..."""
        value = self.varint()
        return (value >> 1) ^ -(value & 1)

    def array(self, dtype: str, count: int) -> np.ndarray:
        """`count` little-endian numbers of a numpy type."""
        return np.frombuffer(self.take(count * np.dtype(dtype).itemsize), dtype)

    def bits(self, n_bits: int) -> np.ndarray:
        """A bit stream of ceil(n_bits / 8) bytes as uint8 zeros and ones; the unused bits must be zero."""
        return bits_of(self.take((n_bits + 7) // 8), n_bits, self.what)


def bits_of(data: bytes, n_bits: int, what: str) -> np.ndarray:
    """The first `n_bits` bits of `data`, lowest bit of each byte first; they must end in its last byte."""
    require(len(data) == (n_bits + 7) // 8, f"{what}: {len(data)} bytes hold a bit stream of {n_bits} bits")
    bits = np.unpackbits(np.frombuffer(data, np.uint8), bitorder="little")
    require(not bits[n_bits:].any(), f"{what}: unused bits of the last byte are not zero")
    return bits[:n_bits]


def fixed_width(bits: np.ndarray, count: int, width: int) -> np.ndarray:
    """`count` integers of `width` bits each, as int64."""
    if width == 0:
        return np.zeros(count, np.int64)
    return bits.reshape(count, width) @ (1 << np.arange(width, dtype=np.int64))


def mixed_width(bits: np.ndarray, widths: np.ndarray) -> np.ndarray:
    """One integer for each entry of `widths`, which may be 0, as int64. sum(widths) == len(bits)."""
    starts = np.cumsum(widths) - widths
    values = np.zeros(len(widths), np.int64)
    for position in range(int(widths.max(initial=0))):
        wide = np.flatnonzero(widths > position)
        values[wide] |= bits[starts[wide] + position].astype(np.int64) << position
    return values
