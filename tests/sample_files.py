"""Small files of every kind whose tensors `tersor.sources` finds, made byte by byte or by torch and numpy."""

from __future__ import annotations

import io
import struct
from collections.abc import Callable

import numpy as np
import torch

from tersor.sources.gguf_types import BLOCK_TYPES


def random_bytes(n_bytes: int, seed: int = 0) -> bytes:
    return np.random.default_rng(seed).bytes(n_bytes)


def torch_file(state: object, *, zipped: bool = True) -> bytes:
    buffer = io.BytesIO()
    torch.save(state, buffer, _use_new_zipfile_serialization=zipped)
    return buffer.getvalue()


def state_dict() -> dict[str, torch.Tensor]:
    random = torch.Generator().manual_seed(0)
    weight = torch.randn(40, 30, generator=random)
    return {
        "embed.weight": weight,
        "half": torch.randn(7, 5, generator=random).to(torch.bfloat16),
        "step": torch.tensor(3),
        "empty": torch.empty(0, 5),
        "head.weight": weight,
    }


def npz_file(*, compressed: bool = False) -> bytes:
    buffer = io.BytesIO()
    save = np.savez_compressed if compressed else np.savez
    save(
        buffer,
        weight=np.arange(12, dtype=np.float32).reshape(3, 4),
        fortran=np.asfortranarray(np.arange(6, dtype=np.int64).reshape(2, 3)),
        big=np.arange(3, dtype=">f4"),
        text=np.array(["a", "bc"]),
        scalar=np.float16(2.5),
    )
    return buffer.getvalue()


def npy_file(array: np.ndarray) -> bytes:
    buffer = io.BytesIO()
    np.save(buffer, array)
    return buffer.getvalue()


def gguf_string(text: str) -> bytes:
    return struct.pack("<Q", len(text.encode())) + text.encode()


GGUF_METADATA = (
    gguf_string("general.alignment") + struct.pack("<II", 4, 64),
    gguf_string("general.name") + struct.pack("<I", 8) + gguf_string("tiny"),
    gguf_string("flags") + struct.pack("<IIQ", 9, 7, 3) + b"\1\0\1",
    gguf_string("tokens") + struct.pack("<IIQ", 9, 8, 2) + gguf_string("<s>") + gguf_string("é"),
)


def gguf_file(
    tensors: list[tuple[str, tuple[int, ...], int, bytes]],
    *,
    metadata: tuple[bytes, ...] = GGUF_METADATA,
    version: int = 3,
    alignment: int = 64,
) -> bytes:
    """tensors: (name, dimensions as GGUF has them: fastest first, type, content)."""
    head = b"GGUF" + struct.pack("<IQQ", version, len(tensors), len(metadata)) + b"".join(metadata)
    data = b""
    for name, dimensions, kind, content in tensors:
        data += bytes(-len(data) % alignment)
        head += gguf_string(name) + struct.pack(f"<I{len(dimensions)}Q", len(dimensions), *dimensions)
        head += struct.pack("<IQ", kind, len(data))
        data += content
    return head + bytes(-len(head) % alignment) + data


def every_gguf_type() -> list[tuple[str, tuple[int, ...], int, bytes]]:
    """A matrix of 3 rows of each quantized type, and one of floats."""
    tensors = [("float", (4, 3), 0, random_bytes(48)), ("half", (5,), 30, random_bytes(10))]
    for kind, block in BLOCK_TYPES.items():
        content = random_bytes(6 * block.n_bytes, kind)
        tensors.append((block.name, (2 * block.n_elements, 3), kind, content))
    return tensors


def varint(value: int) -> bytes:
    out = bytearray()
    while value >= 128:
        out.append(value & 127 | 128)
        value >>= 7
    return bytes([*out, value])


def proto_bytes(number: int, payload: bytes) -> bytes:
    return varint(number << 3 | 2) + varint(len(payload)) + payload


def proto_number(number: int, value: int) -> bytes:
    return varint(number << 3) + varint(value)


def onnx_tensor(
    name: str, data_type: int, shape: tuple[int, ...], content: bytes, *, field: int = 9, packed: bool = True
) -> bytes:
    listed = b"".join(proto_number(1, size) for size in shape)
    dims = proto_bytes(1, b"".join(map(varint, shape))) if packed else listed
    return dims + proto_number(2, data_type) + proto_bytes(field, content) + proto_bytes(8, name.encode())


def onnx_file(*tensors: bytes) -> bytes:
    node = proto_bytes(1, proto_bytes(4, b"MatMul"))
    graph = node + b"".join(proto_bytes(5, tensor) for tensor in tensors) + proto_bytes(2, b"graph")
    return proto_number(1, 8) + proto_bytes(2, b"maker") + proto_bytes(7, graph) + proto_bytes(8, b"\x10\x11")


def some_onnx() -> bytes:
    return onnx_file(
        onnx_tensor("weight", 1, (4, 3), random_bytes(48)),
        onnx_tensor("half", 16, (5,), random_bytes(10), packed=False),
        onnx_tensor("listed", 1, (2,), random_bytes(8), field=4),
        onnx_tensor("nibbles", 22, (3,), b"\x21\x03"),
        onnx_tensor("weight", 7, (), random_bytes(8)),
    )


SAMPLES: dict[str, Callable[[], bytes]] = {
    "model.bin": lambda: torch_file(state_dict()),
    "old.bin": lambda: torch_file(state_dict(), zipped=False),
    "arrays.npz": npz_file,
    "packed.npz": lambda: npz_file(compressed=True),
    "array.npy": lambda: npy_file(np.arange(12.0).reshape(3, 4)),
    "model.gguf": lambda: gguf_file(every_gguf_type()),
    "model.onnx": some_onnx,
}
KINDS = {
    "model.bin": "torch-zip",
    "old.bin": "torch-stream",
    "arrays.npz": "npz",
    "packed.npz": "npz",
    "array.npy": "npy",
    "model.gguf": "gguf",
    "model.onnx": "onnx",
}
