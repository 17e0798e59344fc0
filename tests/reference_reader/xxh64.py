"""XXH64 with seed 0, the content checksum of Zstandard frames."""

P1, P2, P3, P4, P5 = (
    0x9E3779B185EBCA87, 0xC2B2AE3D27D4EB4F, 0x165667B19E3779F9, 0x85EBCA77C2B2AE63, 0x27D4EB2F165667C5,
)  # fmt: skip
MASK = (1 << 64) - 1


def _rotate_left(value: int, count: int) -> int:
    return (value << count | value >> (64 - count)) & MASK


def _round(accumulator: int, lane: int) -> int:
    return _rotate_left((accumulator + lane * P2) & MASK, 31) * P1 & MASK


def xxh64(data: bytes) -> int:
    """The 64-bit hash of `data`."""
    n_stripes = len(data) // 32
    if n_stripes:
        lanes = [(P1 + P2) & MASK, P2, 0, -P1 & MASK]
        for start in range(0, 32 * n_stripes, 8):
            lane = start // 8 % 4
            lanes[lane] = _round(lanes[lane], int.from_bytes(data[start : start + 8], "little"))
        value = (
            sum(_rotate_left(lane, count) for lane, count in zip(lanes, (1, 7, 12, 18), strict=True)) & MASK
        )
        for lane in lanes:
            value = ((value ^ _round(0, lane)) * P1 + P4) & MASK
    else:
        value = P5
    return _finish((value + len(data)) & MASK, data[32 * n_stripes :])


def _finish(value: int, tail: bytes) -> int:
    while len(tail) >= 8:
        value ^= _round(0, int.from_bytes(tail[:8], "little"))
        value = (_rotate_left(value, 27) * P1 + P4) & MASK
        tail = tail[8:]
    if len(tail) >= 4:
        value ^= int.from_bytes(tail[:4], "little") * P1 & MASK
        value = (_rotate_left(value, 23) * P2 + P3) & MASK
        tail = tail[4:]
    for byte in tail:
        value ^= byte * P5 & MASK
        value = _rotate_left(value, 11) * P1 & MASK
    value = (value ^ value >> 33) * P2 & MASK
    value = (value ^ value >> 29) * P3 & MASK
    return value ^ value >> 32
