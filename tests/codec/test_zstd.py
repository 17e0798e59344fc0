"""The zstd codec: levels, and frames that are valid Zstandard but not ours."""

from __future__ import annotations

import pytest
import zstandard

from tersor.codec.zstd import Zstd
from tersor.errors import CorruptError, UsageError

DATA = b"the quick brown fox " * 20


def decode(payload: bytes, n_out: int = len(DATA)) -> bytes:
    out = bytearray(n_out)
    Zstd().decode(payload, memoryview(out))
    return bytes(out)


@pytest.mark.parametrize("level", [1, 3, 19])
def test_frame_of_any_level_is_plain_zstandard(level: int) -> None:
    payload = Zstd(level).encode(DATA)
    assert zstandard.ZstdDecompressor().decompress(payload) == DATA
    assert decode(payload) == DATA


@pytest.mark.parametrize("level", [-1, 0, 20])
def test_level_out_of_range_is_a_usage_error(level: int) -> None:
    with pytest.raises(UsageError, match=rf"zstd level {level} is not in 1\.\.19"):
        Zstd(level)


def test_large_data_at_the_highest_level_keeps_the_window_limit() -> None:
    data = bytes(range(256)) * 40_000
    assert decode(Zstd(19).encode(data), len(data)) == data


def with_header_bits(frame: bytes, bits: int) -> bytes:
    return frame[:4] + bytes((frame[4] | bits,)) + frame[5:]


def test_declared_size_is_checked_before_anything_is_allocated() -> None:
    terabytes = bytes.fromhex("28b52ffd e0 0000000000040000 010000")
    with pytest.raises(CorruptError, match="declares 4398046511104 bytes, needs 400"):
        decode(terabytes)


@pytest.mark.parametrize(
    ("what", "payload", "message"),
    [
        ("checksum", zstandard.ZstdCompressor(write_checksum=True).compress(DATA), "checksum"),
        ("no size", zstandard.ZstdCompressor(write_content_size=False).compress(DATA), "declares"),
        ("two frames", Zstd().encode(DATA) + Zstd().encode(b"more"), "zstd payload"),
        ("skippable frame", bytes.fromhex("502a4d18 01000000 00") + Zstd().encode(DATA), "starts with"),
        ("not a frame", b"no", "starts with"),
        ("header cut", Zstd().encode(DATA)[:5], "zstd payload"),
        (
            "unused bit",
            with_header_bits(Zstd().encode(DATA), 0b10000),
            "bit of the frame header that must be 0",
        ),
        ("reserved bit", with_header_bits(Zstd().encode(DATA), 0b01000), "zstd payload"),
    ],
)
def test_other_frames_raise_corrupt(what: str, payload: bytes, message: str) -> None:
    with pytest.raises(CorruptError, match=message):
        decode(payload)


def test_window_beyond_the_limit_raises_corrupt() -> None:
    # Not a single segment, window of 2^30 bytes, 4-byte content size.
    frame = bytes.fromhex("28b52ffd 80 a0") + len(DATA).to_bytes(4, "little") + b"\x01\x00\x00"
    with pytest.raises(CorruptError, match="window of 1073741824 bytes"):
        decode(frame)
