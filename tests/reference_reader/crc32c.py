"""CRC-32C (Castagnoli, reflected): docs/format.md, "Conventions"."""

import numpy as np

POLYNOMIAL = 0x82F63B78  # 0x1EDC6F41 with its bits reversed
LANES = 512
ONES = 0xFFFFFFFF


def _byte_table() -> list[int]:
    table = []
    for value in range(256):
        for _ in range(8):
            value = value >> 1 ^ (POLYNOMIAL if value & 1 else 0)
        table.append(value)
    return table


TABLE = _byte_table()
TABLE_ARRAY = np.array(TABLE, np.uint32)


def _update(register: int, data: bytes) -> int:
    for byte in data:
        register = register >> 8 ^ TABLE[(register ^ byte) & 0xFF]
    return register


def _registers_of_pieces(pieces: np.ndarray) -> np.ndarray:
    """The register after each row of `pieces` (n, length), starting from zero."""
    registers = np.zeros(len(pieces), np.uint32)
    for column in pieces.T:
        registers = registers >> np.uint32(8) ^ TABLE_ARRAY[(registers ^ column) & np.uint32(0xFF)]
    return registers


def _shift_by_zeros(n_bytes: int) -> list[int]:
    """What `n_bytes` zero bytes make of each single bit of the register (the map is linear)."""
    return [
        int(register) for register in _after_zeros(np.uint32(1) << np.arange(32, dtype=np.uint32), n_bytes)
    ]


def _after_zeros(registers: np.ndarray, n_bytes: int) -> np.ndarray:
    for _ in range(n_bytes):
        registers = registers >> np.uint32(8) ^ TABLE_ARRAY[registers & np.uint32(0xFF)]
    return registers


def _apply(matrix: list[int], register: int) -> int:
    result = 0
    for bit in range(32):
        if register >> bit & 1:
            result ^= matrix[bit]
    return result


def crc32c(data: bytes) -> int:
    """The CRC-32C of `data`. Long inputs are cut into pieces that numpy walks side by side."""
    data = bytes(data)
    piece = len(data) // LANES
    if piece < 16:
        return _update(ONES, data) ^ ONES
    body = np.frombuffer(data, np.uint8, LANES * piece).reshape(LANES, piece)
    shift = _shift_by_zeros(piece)
    register = ONES
    for piece_register in _registers_of_pieces(body):
        register = _apply(shift, register) ^ int(piece_register)
    return _update(register, data[LANES * piece :]) ^ ONES
