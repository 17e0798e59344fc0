"""A file that is packed, as tensors: what is read of it when, what the format cannot hold, and its hash."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from hashlib import sha256
from math import prod
from types import TracebackType

import numpy as np

from tersor.archive.limits import INDEX_FREE_BYTES, INDEX_NAME, MAX_ELEMENTS, MAX_RANK
from tersor.archive.writer import BATCH_BYTES, ArchiveWriter
from tersor.layouts.base import Alias, matrix_shape
from tersor.layouts.geometry import DENSE_BLOCK_ELEMENTS, choose_blocks
from tersor.packing.guess import guess_floats
from tersor.sources.base import ExactSource, TensorBytes
from tersor.types import FLOAT_DTYPES, TensorSpec

RESERVED_NAMES = (INDEX_NAME, "__metadata__")
MAX_LITERAL_BYTES = INDEX_FREE_BYTES // 2
_HASH_BYTES = 1 << 22
_RELEASE_BYTES = 1 << 23


@dataclass(frozen=True, slots=True)
class Part:
    """One tensor of a file that is packed: bytes are `n_bytes` of the source, read when asked for."""

    spec: TensorSpec
    read: Callable[[], np.ndarray]
    release: Callable[[], None]


def obstacle_of(source: ExactSource) -> str:
    """Return why the format cannot hold a file tensor by tensor, or "". A plain file has one tensor, and fits."""
    if source.kind == "plain":
        return ""
    n_literal_bytes = source.n_bytes - sum(spec.n_bytes for spec in _own_specs(source))
    if n_literal_bytes > MAX_LITERAL_BYTES:
        return (
            f"header and gaps are {n_literal_bytes} bytes and at most {MAX_LITERAL_BYTES} fit into an index"
        )
    for spec in source.specs:
        if spec.name in RESERVED_NAMES:
            return f"the tensor name {spec.name!r} is reserved"
        if len(spec.shape) > MAX_RANK:
            return f"tensor {spec.name!r} has rank {len(spec.shape)} and at most {MAX_RANK} is allowed"
        if prod(size for size in spec.shape if size) > MAX_ELEMENTS:
            return f"tensor {spec.name!r} has 2**48 elements or more"
    return ""


def parts_of(source: ExactSource) -> list[Part]:
    return [
        Part(
            TensorSpec(_free_name(spec.name), spec.dtype, spec.shape),
            partial(source.read, spec.name),
            partial(source.release, spec.name),
        )
        for spec in _own_specs(source)
    ]


def _own_specs(source: ExactSource) -> list[TensorSpec]:
    """Return the specs of all tensors but aliases: each byte of the file belongs to one of them at most."""
    return [spec for spec in source.specs if spec.name not in source.aliases]


def add_aliases(source: ExactSource, writer: ArchiveWriter) -> None:
    """Store the further names of tensors that a file holds once."""
    for spec in source.specs:
        if spec.name in source.aliases:
            writer.add(spec, Alias(source.aliases[spec.name]))


def _free_name(name: str) -> str:
    """Return the tensor's name; only a plain file can have a reserved one."""
    return f"{name}_" if name in RESERVED_NAMES else name


def arrays_of(parts: Sequence[Part], *, in_blocks: bool) -> Iterator[tuple[TensorSpec, np.ndarray]]:
    """Yield what the float tables are made for: the tensors, and what looks like floats in bytes.

    in_blocks: large tensors come one row of blocks at a time, whose counts add up to the same.
    """
    releases = Releases()
    for part in parts:
        array = part.read()
        if part.spec.dtype == "U8":
            for guessed in guess_floats(array.reshape(-1)):
                yield guessed
                releases.add(part.release, guessed[1].nbytes)
        elif in_blocks and part.spec.dtype in FLOAT_DTYPES and array.nbytes > _RELEASE_BYTES:
            for rows in _block_rows(part.spec, array):
                yield rows
                releases.add(part.release, rows[1].nbytes)
        else:
            yield part.spec, array
        releases.add(part.release, array.nbytes)
    releases.flush()


def _block_rows(spec: TensorSpec, array: np.ndarray) -> Iterator[tuple[TensorSpec, np.ndarray]]:
    """Yield the rows of each row of blocks that the dense layout cuts a tensor into."""
    matrix = array.reshape(matrix_shape(spec))
    height = choose_blocks(*matrix.shape, DENSE_BLOCK_ELEMENTS).rows
    for row in range(0, len(matrix), height):
        rows = matrix[row : row + height]
        yield TensorSpec(spec.name, spec.dtype, rows.shape), rows


def segments_of(source: ExactSource, writer: ArchiveWriter) -> list[bytes | int]:
    return [
        writer.number(_free_name(part.name))
        if isinstance(part, TensorBytes)
        else bytes(source.segment_bytes(part))
        for part in source.segments()
    ]


def groups_of(parts: Sequence[Part]) -> Iterator[list[Part]]:
    """Yield the parts in order, as many at a time as are worth adding to an archive together."""
    group: list[Part] = []
    n_bytes = 0
    for part in parts:
        if group and n_bytes + part.spec.n_bytes > BATCH_BYTES:
            yield group
            group, n_bytes = [], 0
        group.append(part)
        n_bytes += part.spec.n_bytes
    if group:
        yield group


class Releases:
    """Lets pages of a map leave memory, a good many bytes at a time: calls for each small tensor would cost more."""

    def __init__(self) -> None:
        self._waiting: list[Callable[[], None]] = []
        self._n_bytes = 0

    def add(self, release: Callable[[], None], n_bytes: int) -> None:
        """Note that so many bytes have been read which `release` lets go."""
        self._waiting.append(release)
        self._n_bytes += n_bytes
        if self._n_bytes >= _RELEASE_BYTES:
            self.flush()

    def flush(self) -> None:
        """Let go of all that was noted."""
        for release in self._waiting:
            release()
        self._waiting.clear()
        self._n_bytes = 0


class SourceDigest:
    """The SHA-256 of a whole source file, computed while other things are done; use it in a `with`.

    Reads the file through the map that the tensors come from.
    """

    def __init__(self, source: ExactSource) -> None:
        self._source = source
        self._stopped = False

    def result(self) -> bytes:
        """Wait for the digest and return it."""
        return self._future.result()

    def __enter__(self) -> SourceDigest:
        self._pool = ThreadPoolExecutor(1, thread_name_prefix="tersor-sha256")
        self._future: Future[bytes] = self._pool.submit(self._digest)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stopped = True
        self._pool.shutdown()

    def _digest(self) -> bytes:
        digest, releases = sha256(), Releases()
        for segment in self._source.segments():
            data = self._source.segment_bytes(segment)
            for begin in range(0, len(data), _HASH_BYTES):
                if self._stopped:
                    return b""
                digest.update(data[begin : begin + _HASH_BYTES])
                if isinstance(segment, TensorBytes):
                    releases.add(
                        partial(self._source.release, segment.name), min(_HASH_BYTES, len(data) - begin)
                    )
        return digest.digest()
