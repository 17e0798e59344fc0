from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import safetensors.numpy

from archives import every_dtype, small_lossy, write_archive
from tersor.archive.header import decode_header, encode_header, locate_index, stream_shape
from tersor.errors import CorruptError, UsageError


def test_header_is_compact_ordered_and_padded_to_eight() -> None:
    header = encode_header(24, [("b", (2, 2), 5), ("a", (), 0)])
    text = header[8:].decode()
    assert len(header) % 8 == 0
    assert int.from_bytes(header[:8], "little") == len(header) - 8
    assert text.rstrip(" ") == (
        '{"__metadata__":{"format":"pt","tersor":"1"},'
        '"tersor.index":{"dtype":"U8","shape":[24],"data_offsets":[0,24]},'
        '"b":{"dtype":"U8","shape":[5],"data_offsets":[24,29]},'
        '"a":{"dtype":"U8","shape":[0],"data_offsets":[29,29]}}'
    )


def test_streams_come_back_in_order() -> None:
    header = encode_header(24, [("b", (2, 2), 5), ('«ü»\n"', (7,), 7), ("a", (), 0)])
    streams = decode_header(header[8:], 36, "x")
    assert [(stream.name, stream.begin, stream.end) for stream in streams] == [
        ("b", 24, 29),
        ('«ü»\n"', 29, 36),
        ("a", 36, 36),
    ]
    assert locate_index(memoryview(header), len(header) + 36, "x") == (len(header), 24)


@pytest.mark.parametrize("shape", [(), (3,), (2, 3), (6,), (1, 6), (0,)])
@pytest.mark.parametrize("n_bytes", [0, 3, 6])
def test_stream_never_has_the_shape_of_its_tensor(shape: tuple[int, ...], n_bytes: int) -> None:
    stored = stream_shape(n_bytes, shape)
    assert np.prod(stored) == n_bytes
    assert stored != shape or shape == (1, n_bytes)


@pytest.mark.parametrize("name", ["tersor.index", "__metadata__"])
def test_reserved_name_raises_usage(name: str) -> None:
    with pytest.raises(UsageError, match="reserved"):
        encode_header(24, [(name, (), 1)])


def test_gap_between_streams_raises_corrupt() -> None:
    text = encode_header(24, [("a", (2, 2), 5)])[8:].replace(b"[24,29]", b"[25,30]")
    with pytest.raises(CorruptError, match="begins at 25, needs 24"):
        decode_header(text, 30, "x")


def test_stream_of_another_dtype_raises_corrupt() -> None:
    text = encode_header(24, [("a", (2, 2), 4)])[8:].replace(
        b'"dtype":"U8","shape":[4]', b'"dtype":"F32","shape":[1]'
    )
    with pytest.raises(CorruptError, match="needs U8"):
        decode_header(text, 28, "x")


def test_plain_safetensors_file_is_no_archive(tmp_path: Path) -> None:
    path = tmp_path / "model.safetensors"
    safetensors.numpy.save_file({"a": np.zeros(3, np.float32)}, path)
    data = path.read_bytes()
    with pytest.raises(CorruptError, match="is no tersor archive file"):
        locate_index(memoryview(data), len(data), "x")


@pytest.mark.parametrize("make", [small_lossy, every_dtype])
def test_official_reader_opens_every_archive_file_and_finds_only_u8(make, tmp_path: Path) -> None:
    path = tmp_path / "a.tersor.safetensors"
    tensors = make()
    write_archive(path, tensors)
    with safetensors.safe_open(path, "numpy") as file:
        assert file.metadata() == {"format": "pt", "tersor": "1"}
        assert set(file.keys()) == {"tersor.index", *(spec.name for spec in tensors)}
        for spec in tensors:
            stream = file.get_slice(spec.name)
            assert stream.get_dtype() == "U8"
            assert tuple(stream.get_shape()) != spec.shape or spec.shape == (1, stream.get_shape()[-1])


def test_header_is_what_json_says(tmp_path: Path) -> None:
    path = tmp_path / "a.tersor.safetensors"
    write_archive(path, every_dtype())
    data = path.read_bytes()
    header = json.loads(data[8 : 8 + int.from_bytes(data[:8], "little")])
    assert list(header)[:2] == ["__metadata__", "tersor.index"]
