"""Layout `delta/1` and the base that it needs (docs/format.md sections 3.6 and 4.4)."""

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from . import codecs
from .blake3 import blake3
from .context import FileContext
from .cursor import Cursor
from .errors import FormatError, UnsupportedError, require

EQUAL, DIFFERENCE, XOR = 0, 1, 2
EXPONENT_BITS = {"F64": 11, "F32": 8, "BF16": 8, "F16": 5, "F8_E5M2": 5, "F8_E4M3": 4}
MAX_HINT = 4096


@dataclass(frozen=True)
class BaseTensor:
    """A tensor of the base."""

    dtype: str
    shape: tuple[int, ...]
    data: bytes


class Base:
    """The tensors of a base, which must be a plain safetensors file here, read when first needed."""

    def __init__(self, record: Any, folder: Path | None) -> None:
        require(isinstance(record, list) and len(record) >= 2, f"base {record!r}")
        hint, content = record[:2]
        require(isinstance(hint, str) and len(hint) <= MAX_HINT, f"base: path {hint!r}")
        require(not hint.startswith(("/", "\\")) and "\0" not in hint, f"base: path {hint!r}")
        require(isinstance(content, bytes) and len(content) == 32, f"base: content hash {content!r}")
        self._path = None if folder is None or not hint else folder / hint
        self._content = content
        self._tensors: dict[str, BaseTensor] = {}

    def tensor(self, name: str, what: str) -> BaseTensor:
        """A tensor of the base."""
        if not self._tensors:
            self._load(what)
        require(name in self._tensors, f"{what}: the base has no tensor {name!r}")
        return self._tensors[name]

    def _load(self, what: str) -> None:
        if self._path is None or not self._path.is_file():
            raise UnsupportedError(
                f"{what}: needs the base {self._content.hex()}, which is not at {self._path}"
            )
        data = self._path.read_bytes()
        n_header = int.from_bytes(data[:8], "little")
        for name, entry in json.loads(data[8 : 8 + n_header]).items():
            if name != "__metadata__":
                begin, end = (8 + n_header + offset for offset in entry["data_offsets"])
                self._tensors[name] = BaseTensor(entry["dtype"], tuple(entry["shape"]), data[begin:end])
        names = sorted(self._tensors, key=str.encode)
        parts = [len(name.encode()).to_bytes(4, "little") + name.encode() for name in names]
        hashes = [blake3(self._tensors[name].data)[:16] for name in names]
        found = blake3(b"".join(part + digest for part, digest in zip(parts, hashes, strict=True)))
        require(found == self._content, f"{what}: {self._path} has content hash {found.hex()}")


def parse_meta(meta: Any, what: str) -> tuple[int, str | None, bytes | None]:
    """Kind, name and hash."""
    require(
        isinstance(meta, list) and len(meta) >= 3 and type(meta[0]) is int, f"{what}: delta meta {meta!r}"
    )
    kind, name, digest = meta[:3]
    if kind not in (EQUAL, DIFFERENCE, XOR):
        raise UnsupportedError(f"{what}: delta of kind {kind!r}")
    require(name is None or isinstance(name, str), f"{what}: base name {name!r}")
    if kind == EQUAL:
        require(digest is None, f"{what}: an equal tensor with a hash of its base")
    else:
        require(isinstance(digest, bytes) and 16 <= len(digest) <= 32, f"{what}: base hash {digest!r}")
    return kind, name, digest


def base_matrix(
    tensor: BaseTensor, record: Any, digest: bytes, matrix_size: tuple[int, int], what: str
) -> np.ndarray:
    """The base tensor's bit patterns as a matrix, after its dtype, shape and hash have been checked."""
    same = (tensor.dtype, tensor.shape) == (record.dtype, record.shape)
    require(same, f"{what}: the base tensor is {tensor.dtype} {tensor.shape}")
    require(blake3(tensor.data)[: len(digest)] == digest, f"{what}: the base tensor has another hash")
    n_elements = matrix_size[0] * matrix_size[1]
    width = len(tensor.data) // n_elements if n_elements else 1
    return np.frombuffer(tensor.data, f"<u{width}").reshape(matrix_size)


def decode_delta_block(
    kind: int, dtype: str, stored: bytes, base: np.ndarray, context: FileContext, what: str
) -> bytes:
    """The bytes of one block. base: bit patterns (rows, columns)."""
    cursor, n_bits = Cursor(stored, what), 8 * base.itemsize
    codec, length = context.codec(cursor.u8()), cursor.varint()
    classes = codecs.decode(codec, cursor.take(length), len(base))
    heads, n_left = [], base.size
    for _ in range(cursor.varint()):
        n, raw_bits = cursor.varint(), cursor.u8()
        require(0 < n <= n_left and raw_bits <= n_bits - 8, f"{what}: group of {n}, {raw_bits} raw bits")
        n_planes = -(-(n_bits - raw_bits) // 8)
        heads.append((n, raw_bits, [(context.codec(cursor.u8()), cursor.varint()) for _ in range(n_planes)]))
        n_left -= n
    require(n_left == 0, f"{what}: {n_left} elements in no group")
    places = iter(_order(dtype, classes, base))
    flat = base.reshape(-1).tolist()
    words = [0] * len(flat)
    for n, raw_bits, planes in heads:
        for value in _group(cursor, n, raw_bits, planes, n_bits, what):
            place = next(places)
            words[place] = _restore(kind, dtype, value, raw_bits, flat[place], n_bits)
    cursor.finish()
    return np.array(words, base.dtype).tobytes()


def _order(dtype: str, classes: bytes, base: np.ndarray) -> list[int]:
    """The places of a block in the order in which its elements are stored."""
    n_exponent = EXPONENT_BITS.get(dtype, 0)
    shift = 8 * base.itemsize - 1 - n_exponent
    keys = [
        (row_class << n_exponent) + ((word >> shift) & ((1 << n_exponent) - 1))
        for row_class, row in zip(classes, base.tolist(), strict=True)
        for word in row
    ]
    return sorted(range(len(keys)), key=keys.__getitem__)


def _group(
    cursor: Cursor, n: int, raw_bits: int, planes: list[tuple[str, int]], n_bits: int, what: str
) -> list[int]:
    low = [0] * n
    for number in range(raw_bits // 8):
        low = [value | byte << 8 * number for value, byte in zip(low, cursor.take(n), strict=True)]
    n_left = raw_bits % 8
    if n_left:
        stream = int.from_bytes(cursor.take(-(-n * n_left // 8)), "little")
        require(stream >> (n * n_left) == 0, f"{what}: bits behind the end of a bit stream")
        mask, shift = (1 << n_left) - 1, raw_bits - n_left
        low = [value | (stream >> i * n_left & mask) << shift for i, value in enumerate(low)]
    upper = [0] * n
    for number, (codec, length) in enumerate(planes):
        plane = codecs.decode(codec, cursor.take(length), n)
        upper = [value | byte << 8 * number for value, byte in zip(upper, plane, strict=True)]
    if max(upper) >> (n_bits - raw_bits):
        raise FormatError(f"{what}: a difference of more than {n_bits} bits")
    return [high << raw_bits | value for high, value in zip(upper, low, strict=True)]


def _restore(kind: int, dtype: str, stored: int, raw_bits: int, base: int, n_bits: int) -> int:
    if kind == XOR:
        return stored ^ base
    distance, top, everything = stored - (1 << (raw_bits + 7)), 1 << (n_bits - 1), (1 << n_bits) - 1
    if dtype not in EXPONENT_BITS:
        return (base + distance) & everything
    ordered = (~base & everything) - distance if base & top else (base | top) + distance
    ordered &= everything
    return ordered ^ top if ordered & top else ~ordered & everything
