"""One archive file, written: tensors are encoded as they come, header and index are put in front at the end."""

from __future__ import annotations

import errno
import os
import shutil
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any, BinaryIO

import numpy as np
from blake3 import blake3

from tersor.archive import limits
from tersor.archive.crc import crc32c
from tersor.archive.file import ALIAS_LAYOUT
from tersor.archive.header import encode_header
from tersor.archive.index import (
    PREFIX,
    BaseRecord,
    FileRecord,
    FolderRecord,
    Index,
    TensorRecord,
    encode_index,
    encode_prefix,
    pack_any,
    spec_of,
)
from tersor.archive.parallel import in_order
from tersor.archive.tensor import as_bytes
from tersor.archive.varint import encode_varints
from tersor.codec.auto import ORDER
from tersor.errors import UnknownNameError, UsageError
from tersor.layouts import layout_of, make_layout
from tersor.layouts.base import Alias, Context, Dense, Encoded, EncodedBlock
from tersor.layouts.delta import DELTA_LAYOUT, Delta
from tersor.layouts.grid import Grid
from tersor.registry import did_you_mean
from tersor.types import TensorSpec

DIGEST_BYTES = limits.MIN_DIGEST_BYTES
# Below this, equal tensors are mostly initial values (zeros, ones), no ties, and take next to nothing anyway.
MIN_ALIAS_BYTES = 1 << 16
_COPY_BYTES = 1 << 20
_RELEASE_BYTES = 1 << 23
# Errors of copy_file_range that mean "copy it yourself".
_NO_KERNEL_COPY = (errno.EXDEV, errno.EINVAL, errno.ENOSYS, errno.EOPNOTSUPP, errno.EPERM)

Value = Dense | Grid | Alias | Delta


def producer_name() -> str:
    """Return "tersor VERSION"."""
    from importlib.metadata import version

    return f"tersor {version('tersor')}"


class ArchiveWriter:
    """Writes one archive file: `add` each tensor, then `finish` once. Use it in a `with`.

    path: of the new file; must not exist. context: codecs and table sets that the tensors are encoded with.
    find_ties: store a dense tensor of 64 KiB or more that equals an earlier one in dtype, shape and bytes as
        an alias of it; not those whose elements are all equal.
    threads: blocks encoded at a time. The file does not depend on it.
    Memory: what `add` is given, and 2 * threads encoded blocks. Streams wait in a nameless file beside `path`.
    """

    def __init__(
        self,
        path: Path,
        context: Context,
        *,
        producer: str | None = None,
        threads: int = 1,
        find_ties: bool = False,
    ) -> None:
        self.path = path
        self.context = context
        self._producer = producer or producer_name()
        self._threads = threads
        self._find_ties = find_ties
        self._records: list[TensorRecord] = []
        self._streams: list[tuple[str, Sequence[int], int]] = []
        self._numbers = context.tensor_numbers
        self._layouts: list[str] = []
        # In a fixed order beforehand: threads would append them in the order of first use, which is chance.
        for name in ORDER:
            context.codec_number(name)
        self._alias_targets: dict[int, int] = {}
        self._by_digest: dict[tuple[str, tuple[int, ...], bytes], int] = {}
        self._spool: BinaryIO = tempfile.TemporaryFile(dir=path.parent)  # noqa: SIM115 (`close`)

    def add(
        self,
        spec: TensorSpec,
        value: Value,
        advance: Callable[[int], None] | None = None,
        release: Callable[[], None] | None = None,
    ) -> int:
        """Encode and store one tensor; return the bytes of its stream.

        Tensors lie in the file in the order in which they are added. An Alias names an earlier tensor; if that is an
        alias too, the new one has the same target.
        advance: called after each block with bytes of the tensor that are done; they add up to spec.n_bytes.
        release: called every few MB to say that what was read of the value so far may leave memory; the array must
            stay readable, as that of a memory map does.
        Raises: UsageError if the name is taken or reserved, or the shape is beyond the format's limits.
        """
        self._check_new(spec)
        advance, release = advance or _ignore, release or _keep
        if isinstance(value, Alias):
            advance(spec.n_bytes)
            return self._add_alias(spec, self._holder(self.number(value.target)))
        digest = _digest(spec, value, release)
        tied = (
            self._tied(spec, value.array, digest)
            if self._find_ties and isinstance(value, Dense | Delta)
            else None
        )
        if tied is not None:
            advance(spec.n_bytes)
            return self._add_alias(spec, tied)
        encoded = make_layout(layout_of(value)).encode(spec, value, self.context)
        return self._add_encoded(spec, encoded, digest, advance, release)

    def number(self, name: str) -> int:
        """Return the number of a tensor that has been added. Raises UnknownNameError naming the nearest."""
        if name not in self._numbers:
            raise UnknownNameError(
                f"{self.path.name}: no tensor {name!r} added yet{did_you_mean(name, self._numbers)}"
            )
        return self._numbers[name]

    def finish(
        self,
        files: Sequence[FileRecord] = (),
        provenance: Mapping[str, Any] | None = None,
        folder: FolderRecord | None = None,
        base: BaseRecord | None = None,
    ) -> int:
        """Write the file and return the CRC-32C of its index, which the primary's folder record names."""
        index = Index(
            producer=self._producer,
            layouts=self._layouts,
            codecs=self.context.codecs,
            table_sets=list(self.context.table_sets),
            tensors=self._records,
            files=list(files),
            provenance=pack_any(dict(provenance or {})),
            folder=folder,
            base=base if DELTA_LAYOUT in self._layouts else None,
        )
        frame, n_index_bytes, index_crc = encode_index(index)
        header = encode_header(PREFIX.size + len(frame), self._streams)
        with open(self.path, "xb") as out:
            out.write(header)
            out.write(encode_prefix(n_index_bytes, index_crc, crc32c(header)))
            out.write(frame)
            out.flush()
            self._spool.flush()
            _append(self._spool, out)
        self.close()
        return index_crc

    def close(self) -> None:
        """Drop the streams that wait. Does nothing after `finish`."""
        self._spool.close()

    def __enter__(self) -> ArchiveWriter:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _check_new(self, spec: TensorSpec) -> None:
        if spec.name in self._numbers or spec.name in (limits.INDEX_NAME, "__metadata__"):
            raise UsageError(f"{self.path.name}: tensor name {spec.name!r} is taken or reserved; rename it")
        if len(spec.shape) > limits.MAX_RANK:
            raise UsageError(
                f"{self.path.name}: tensor {spec.name!r} has rank {len(spec.shape)}, at most {limits.MAX_RANK}"
            )

    def _tied(self, spec: TensorSpec, array: np.ndarray, digest: bytes) -> int | None:
        """Return the number of an earlier tensor that this one is stored as an alias of."""
        if spec.n_bytes < MIN_ALIAS_BYTES:
            return None
        number = self._by_digest.setdefault((spec.dtype, spec.shape, digest), len(self._records))
        if number == len(self._records) or _is_constant(array):
            return None
        return number

    def _holder(self, number: int) -> int:
        """Return the number of the tensor that holds the values: an alias's target, any other's own."""
        return self._alias_targets.get(number, number)

    def _add_alias(self, spec: TensorSpec, target: int) -> int:
        other = self._records[target]
        if (other.dtype, other.shape) != (spec.dtype, spec.shape):
            raise UsageError(
                f"tensor {spec.name!r} is {spec.dtype} {list(spec.shape)}, "
                f"but the tensor it is tied to is {other.dtype} {list(other.shape)}"
            )
        self._alias_targets[len(self._records)] = target
        record = TensorRecord(
            spec.dtype,
            spec.shape,
            self._layout_number(ALIAS_LAYOUT),
            pack_any(target),
            None,
            0,
            0,
            0,
            b"",
            b"",
        )
        self._append(spec, record, 0)
        return 0

    def _add_encoded(
        self,
        spec: TensorSpec,
        encoded: Encoded,
        digest: bytes,
        advance: Callable[[int], None],
        release: Callable[[], None],
    ) -> int:
        n_block_bytes = encoded.block_rows * encoded.block_columns * spec.numpy_dtype.itemsize
        blocks_per_release = max(_RELEASE_BYTES // max(n_block_bytes, 1), 1)
        n_left = spec.n_bytes
        lengths: list[int] = []
        crcs: list[int] = [encoded.head_crc] if encoded.head else []
        self._spool.write(encoded.head)
        for block in self._encode_blocks(encoded):
            self._spool.write(block.payload)
            lengths.append(len(block.payload))
            crcs.append(block.crc)
            advance(min(n_block_bytes, n_left))
            n_left -= min(n_block_bytes, n_left)
            if len(lengths) % blocks_per_release == 0:
                release()
        record = TensorRecord(
            dtype=spec.dtype,
            shape=spec.shape,
            layout=self._layout_number(encoded.layout),
            meta=pack_any(encoded.meta),
            blake3=digest,
            head=len(encoded.head),
            block_rows=encoded.block_rows,
            block_columns=encoded.block_columns,
            block_lengths=encode_varints(lengths),
            checksums=np.array(crcs, "<u4").tobytes(),
        )
        n_bytes = len(encoded.head) + sum(lengths)
        self._append(spec, record, n_bytes)
        advance(n_left)
        return n_bytes

    def _encode_blocks(self, encoded: Encoded) -> Iterator[EncodedBlock]:
        return in_order(encoded.blocks, self._threads)

    def _append(self, spec: TensorSpec, record: TensorRecord, n_bytes: int) -> None:
        spec_of(spec.name, record)
        self._numbers[spec.name] = len(self._records)
        self._records.append(record)
        self._streams.append((spec.name, spec.shape, n_bytes))

    def _layout_number(self, name: str) -> int:
        if name not in self._layouts:
            self._layouts.append(name)
        return self._layouts.index(name)


def _ignore(n_bytes: int) -> None:
    """Report to nobody."""


def _keep() -> None:
    """Release nothing."""


def _digest(spec: TensorSpec, value: Dense | Grid | Delta, release: Callable[[], None]) -> bytes:
    """Return the start of the BLAKE3 hash of the bytes that a reader will decode."""
    array = decoded_grid(spec, value) if isinstance(value, Grid) else value.array
    data, digest = as_bytes(array), blake3()
    for begin in range(0, len(data), _RELEASE_BYTES):
        digest.update(data[begin : begin + _RELEASE_BYTES])
        release()
    return digest.digest(length=DIGEST_BYTES)


def decoded_grid(spec: TensorSpec, grid: Grid) -> np.ndarray:
    """Return the tensor that a grid decodes to: the spec's shape and dtype, C-contiguous."""
    with np.errstate(over="ignore"):  # float16 overflows to infinity, as the format says
        matrix = grid.to_dense().astype(spec.numpy_dtype, copy=False)
    if grid.transposed:
        a, b = spec.shape[-2:]
        matrix = matrix.reshape(*spec.shape[:-2], b, a).swapaxes(-1, -2)
    return np.ascontiguousarray(matrix).reshape(spec.shape)


def _is_constant(array: np.ndarray) -> bool:
    """Whether all elements have the same bytes."""
    flat = array.reshape(-1).view(np.uint8).reshape(-1, array.dtype.itemsize)
    steps = range(0, len(flat), _RELEASE_BYTES)
    return all((flat[begin : begin + _RELEASE_BYTES] == flat[0]).all() for begin in steps)


def _append(source: BinaryIO, out: BinaryIO) -> None:
    """Append the whole of a file to another, inside the kernel where it can (no second copy in memory)."""
    source.seek(0)
    remaining = os.fstat(source.fileno()).st_size
    if hasattr(os, "copy_file_range"):
        try:
            while remaining:
                copied = os.copy_file_range(source.fileno(), out.fileno(), min(remaining, 1 << 30))
                if not copied:
                    break
                remaining -= copied
        except OSError as exc:
            if exc.errno not in _NO_KERNEL_COPY:
                raise
        os.lseek(out.fileno(), 0, os.SEEK_END)
    shutil.copyfileobj(source, out, _COPY_BYTES)
