"""An ONNX model: its initializers, found in the protobuf without onnx or protobuf."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import ClassVar

from tersor.sources.extents import Contents, ExtentFile, Place, StructureError
from tersor.sources.protobuf import Field, ProtobufReader
from tersor.types import TensorSpec

MAX_RANK = 32
# Field numbers of onnx.proto.
_MODEL_GRAPH = 7
_GRAPH_INITIALIZER = 5
_DIMS, _DATA_TYPE, _FLOAT_DATA, _NAME, _RAW_DATA, _DOUBLE_DATA = 1, 2, 4, 8, 9, 10
# TensorProto.DataType.
_DTYPES = {
    1: "F32",
    2: "U8",
    3: "I8",
    4: "U16",
    5: "I16",
    6: "I32",
    7: "I64",
    9: "BOOL",
    10: "F16",
    11: "F64",
    12: "U32",
    13: "U64",
    14: "C64",
    16: "BF16",
    17: "F8_E4M3",
    18: "F8_E4M3FNUZ",
    19: "F8_E5M2",
    20: "F8_E5M2FNUZ",
    24: "F8_E8M0",
}


class OnnxFile(ExtentFile):
    """The initializers of an ONNX model whose values lie in the file as they are in memory.

    A name that is empty or taken gets `@BEGIN` appended. Types that no tensor has (4-bit ones) are U8.
    """

    kind: ClassVar[str] = "onnx"

    @classmethod
    def matches(cls, path: Path, head: bytes, n_bytes: int) -> bool:
        """By the suffix; a protobuf has no magic number."""
        return path.suffix == ".onnx"

    def locate(self, data: memoryview) -> Contents:
        """Return where the initializers lie."""
        places: list[Place] = []
        names: set[str] = set()
        reader = ProtobufReader(data)
        for initializer in _initializers(reader, len(data)):
            place = _place(_read_tensor(reader, data, initializer), names)
            if place is not None:
                places.append(place)
                names.add(place.spec.name)
        if not places:
            raise StructureError("it holds no initializer")
        return Contents(places)


def _initializers(reader: ProtobufReader, n_bytes: int) -> Iterator[Field]:
    for graph in reader.fields(0, n_bytes):
        if graph.number == _MODEL_GRAPH and graph.is_bytes:
            for part in reader.fields(graph.begin, graph.end):
                if part.number == _GRAPH_INITIALIZER and part.is_bytes:
                    yield part


@dataclass(slots=True)
class _Tensor:
    """What a TensorProto says. values: the byte ranges that hold its elements as they are in memory."""

    name: str = ""
    data_type: int = 0
    shape: list[int] = field(default_factory=list)
    values: list[tuple[int, int]] = field(default_factory=list)


def _read_tensor(reader: ProtobufReader, data: memoryview, message: Field) -> _Tensor:
    tensor = _Tensor()
    for part in reader.fields(message.begin, message.end):
        if part.number == _DIMS:
            for size in reader.varints(part):
                tensor.shape.append(size)
                if len(tensor.shape) > MAX_RANK:
                    raise StructureError(f"an initializer has more than {MAX_RANK} dimensions")
        elif part.number == _DATA_TYPE:
            tensor.data_type = part.value
        elif part.number == _NAME and part.is_bytes:
            tensor.name = _text(data, part)
        elif part.number in (_RAW_DATA, _FLOAT_DATA, _DOUBLE_DATA) and part.is_bytes:
            tensor.values.append((part.begin, part.end))
    return tensor


def _text(data: memoryview, part: Field) -> str:
    try:
        return bytes(data[part.begin : part.end]).decode("utf-8")
    except UnicodeDecodeError as exc:
        raise StructureError(f"the name at {part.begin} is not UTF-8") from exc


def _place(tensor: _Tensor, taken: set[str]) -> Place | None:
    """Return where an initializer's elements lie; None if not in one piece of this file."""
    if len(tensor.values) != 1:
        return None
    begin, end = tensor.values[0]
    name = tensor.name if tensor.name and tensor.name not in taken else f"{tensor.name}@{begin}"
    if tensor.data_type in _DTYPES:
        return Place(TensorSpec(name, _DTYPES[tensor.data_type], tuple(tensor.shape)), begin, end)
    return Place(TensorSpec(name, "U8", (end - begin,)), begin, end)
