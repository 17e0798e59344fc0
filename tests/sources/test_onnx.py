"""ONNX models: initializers found by field numbers alone."""

from __future__ import annotations

from contextlib import suppress
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sample_files import onnx_file, onnx_tensor, proto_bytes, proto_number, random_bytes, some_onnx, varint
from tersor.errors import CorruptError
from tersor.sources import protobuf
from tersor.sources.extents import StructureError
from tersor.sources.onnx import OnnxFile
from tersor.sources.protobuf import ProtobufReader


def opened(content: bytes, tmp_path: Path) -> OnnxFile:
    (tmp_path / "x.onnx").write_bytes(content)
    return OnnxFile(tmp_path / "x.onnx")


def test_initializers_are_tensors(tmp_path: Path) -> None:
    file = opened(some_onnx(), tmp_path)
    found = {spec.name.partition("@")[0]: (spec.dtype, spec.shape) for spec in file.specs[:4]}
    assert found == {
        "weight": ("F32", (4, 3)),
        "half": ("BF16", (5,)),
        "listed": ("F32", (2,)),
        "nibbles": ("U8", (2,)),
    }
    assert bytes(file.raw("weight")) == random_bytes(48)


def test_name_that_is_taken_or_empty_gets_its_place_appended(tmp_path: Path) -> None:
    tensors = [onnx_tensor(name, 7, (), random_bytes(8)) for name in ("a", "a", "")]
    file = opened(onnx_file(*tensors), tmp_path)
    places = [begin for begin, _ in file.extents.values()]
    assert [spec.name for spec in file.specs] == ["a", f"a@{places[1]}", f"@{places[2]}"]


def test_values_in_another_file_or_in_pieces_are_left_alone(tmp_path: Path) -> None:
    external = proto_bytes(1, b"\4") + proto_number(2, 1) + proto_number(14, 1) + proto_bytes(8, b"external")
    twice = proto_number(2, 1) + proto_bytes(9, bytes(4)) + proto_bytes(9, bytes(4))
    file = opened(onnx_file(external, twice, onnx_tensor("a", 1, (1,), bytes(4))), tmp_path)
    assert [spec.name for spec in file.specs] == ["a"]


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "holds no initializer"),
        (onnx_file(), "holds no initializer"),
        (b"\x0b", "wire type 3"),
        (proto_number(0, 1), "does not fit"),
        (varint(7 << 3 | 2) + varint(1 << 62), "does not fit"),
        (b"\xff" * 11, "no whole number"),
        (b"\x3d\0", "does not fit"),
        (onnx_file(onnx_tensor("a", 1, (2,), bytes(4))), "8 bytes, the file holds 4"),
        (onnx_file(onnx_tensor("a", 1, ((1 << 64) - 1,), b"")), "no array can have its shape"),
        (onnx_file(onnx_tensor("a", 1, (1,) * 33, bytes(4))), "more than 32 dimensions"),
        (onnx_file(proto_bytes(8, b"\xff") + proto_bytes(9, bytes(4))), "not UTF-8"),
    ],
)
def test_messages_that_lie_are_refused(content: bytes, message: str, tmp_path: Path) -> None:
    with pytest.raises(CorruptError, match=message):
        opened(content, tmp_path)


@given(st.lists(st.integers(0, 2**64 - 1), max_size=5), st.integers(1, 2**29 - 1))
def test_numbers_come_back_packed_or_not(values: list[int], number: int) -> None:
    def read(data: bytes) -> list[int]:
        reader = ProtobufReader(memoryview(data))
        fields = list(reader.fields(0, len(data)))
        assert {field.number for field in fields} <= {number}
        return [value for field in fields for value in reader.varints(field)]

    assert read(proto_bytes(number, b"".join(map(varint, values)))) == values
    assert read(b"".join(proto_number(number, value) for value in values)) == values


def test_too_many_fields_are_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(protobuf, "MAX_FIELDS", 1000)
    with pytest.raises(CorruptError, match="more than 1000 fields"):
        opened(proto_bytes(7, b"\x0a\x00" * 1000), tmp_path)
    with pytest.raises(CorruptError, match="more than 1000 fields"):
        opened(onnx_file(*[onnx_tensor("a", 1, (1,) * 20, bytes(4))] * 40), tmp_path)


@given(st.binary(max_size=40))
def test_noise_never_leaves_its_message(noise: bytes) -> None:
    with suppress(StructureError):
        for field in ProtobufReader(memoryview(noise)).fields(0, len(noise)):
            assert 0 <= field.begin <= field.end <= len(noise)
