"""Damage by chance: whatever happens to the bytes, a reader gives an error that says so; there is no unused bit."""

from __future__ import annotations

import random
from pathlib import Path

import pytest

from archives import every_dtype, small_lossy, write_archive
from damage import contents, open_bytes
from tersor.errors import CorruptError, NewerFormatError
from tersor.packing import pack


def written(path: Path, tensors: dict) -> bytes:
    write_archive(path / "a.tersor.safetensors", tensors)
    return (path / "a.tersor.safetensors").read_bytes()


def packed(path: Path) -> bytes:
    """An archive of a text, as `pack` makes it: with a file record and a folder record."""
    (path / "text.txt").write_bytes(b"It was the best of times, it was the worst of times. " * 40)
    pack(path / "text.txt", path / "out")
    return (path / "out" / "text.txt.tersor.safetensors").read_bytes()


def flipped(data: bytes, bit: int) -> bytes:
    damaged = bytearray(data)
    damaged[bit // 8] ^= 1 << bit % 8
    return bytes(damaged)


def survives(data: bytes, damaged: bytes) -> bool:
    """Whether a damaged file reads as the original. Fails if it reads as anything else."""
    try:
        found = contents(damaged)
    except (CorruptError, NewerFormatError):
        return False
    assert found == contents(data)
    return True


def test_every_flipped_bit_of_a_small_archive_raises(tmp_path: Path) -> None:
    data = written(tmp_path, small_lossy())
    assert 900 < len(data) < 4000
    assert [bit for bit in range(8 * len(data)) if survives(data, flipped(data, bit))] == []


@pytest.mark.parametrize("make", [lambda path: written(path, every_dtype()), packed], ids=["dense", "packed"])
def test_a_flipped_bit_raises(make, tmp_path: Path) -> None:
    data = make(tmp_path)
    bits = random.Random(0).sample(range(8 * len(data)), 600)
    assert [bit for bit in bits if survives(data, flipped(data, bit))] == []


@pytest.mark.parametrize("make", [lambda path: written(path, small_lossy()), packed], ids=["lossy", "packed"])
def test_every_truncation_raises_corrupt(make, tmp_path: Path) -> None:
    data = make(tmp_path)
    for length in range(len(data)):
        with pytest.raises(CorruptError):
            contents(data[:length])


def test_bytes_after_the_end_raise_corrupt(tmp_path: Path) -> None:
    data = written(tmp_path, small_lossy())
    with pytest.raises(CorruptError, match="bytes of data, the file has"):
        contents(data + b"\0")


def test_overwritten_runs_raise_or_change_nothing(tmp_path: Path) -> None:
    data = written(tmp_path, every_dtype())
    chance = random.Random(1)
    for _ in range(300):
        begin, length = chance.randrange(len(data)), chance.randrange(1, 64)
        survives(data, data[:begin] + chance.randbytes(length) + data[begin + length :])


def test_swapped_streams_of_equal_length_raise_corrupt(tmp_path: Path) -> None:
    data = written(tmp_path, every_dtype())
    streams = open_bytes(data).files[0].streams
    n_header = 8 + int.from_bytes(data[:8], "little")
    by_length: dict[int, list] = {}
    for stream in streams:
        by_length.setdefault(stream.end - stream.begin, []).append(stream)
    first, second = next(found for length, found in by_length.items() if length > 20 and len(found) > 1)[:2]
    a, b = (slice(n_header + stream.begin, n_header + stream.end) for stream in (first, second))
    damaged = bytearray(data)
    damaged[a], damaged[b] = data[b], data[a]
    with pytest.raises(CorruptError, match="CRC-32C"):
        contents(bytes(damaged))
