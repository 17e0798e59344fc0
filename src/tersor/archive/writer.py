"""One archive file, written: tensors are encoded as they come, header and index are put in front at the end."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from itertools import chain, islice
from pathlib import Path
from types import TracebackType
from typing import Any, BinaryIO

import numpy as np

from tersor.archive import limits
from tersor.archive.crc import crc32c
from tersor.archive.file import ALIAS_LAYOUT
from tersor.archive.hashing import RELEASE_BYTES, digest_of_value, is_constant
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
from tersor.archive.spool import append_file
from tersor.archive.varint import encode_varints
from tersor.codec.auto import ORDER
from tersor.errors import UnknownNameError, UsageError
from tersor.layouts import layout_of, make_layout
from tersor.layouts.base import Alias, Context, Dense, Encoded, EncodedBlock, Sparse, n_blocks
from tersor.layouts.delta import DELTA_LAYOUT, Delta
from tersor.layouts.dense_batch import encode_dense
from tersor.layouts.float_blocks import Memory
from tersor.layouts.grid import Grid
from tersor.layouts.low_rank import LOW_RANK_LAYOUT, LowRank, check_product
from tersor.registry import did_you_mean
from tersor.types import TensorSpec

# Below this, equal tensors are mostly initial values (zeros, ones), no ties, and take next to nothing anyway.
MIN_ALIAS_BYTES = 1 << 16
BATCH_BYTES = 1 << 23  # of tensors that are worth adding together

Value = Dense | Grid | Alias | Delta | LowRank | Sparse


@dataclass(frozen=True, slots=True)
class Addition:
    """A tensor to be added.

    release: called every few MB to say that what was read of the value so far may leave memory; the array must stay
        readable, as that of a memory map does.
    is_part: of a low-rank tensor, which `add_all` puts behind its parts by itself.
    """

    spec: TensorSpec
    value: Value
    release: Callable[[], None] | None = None
    is_part: bool = False


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
    Memory: what `add` is given, BATCH_BYTES of encoded blocks and 2 * threads more. Streams wait in a nameless file
        beside `path`.
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
        self._memory = Memory()
        self._spool: BinaryIO = tempfile.TemporaryFile(dir=path.parent)  # noqa: SIM115 (`close`)

    def add(
        self,
        spec: TensorSpec,
        value: Value,
        advance: Callable[[int], None] | None = None,
        release: Callable[[], None] | None = None,
    ) -> int:
        """Encode and store one tensor; return the bytes of its stream. See `add_all`."""
        return self.add_all([Addition(spec, value, release)], advance)[0]

    def add_all(self, tensors: Sequence[Addition], advance: Callable[[int], None] | None = None) -> list[int]:
        """Encode tensors together, so that their blocks share the threads; return the bytes of each stream.

        Tensors lie in the file in the order in which they are added, and the file does not depend on how many are
        added at a time. An Alias names an earlier tensor; if that is an alias too, the new one has the same target.
        The parts of a LowRank become tensors of their own in front of it (docs/format.md 4.6); its bytes are theirs.
        advance: called after each block with bytes that are done; they add up to the n_bytes of the specs.
        Raises: UsageError if a name is taken or reserved, or a shape is beyond the format's limits.
        """
        n_bytes: list[int] = []
        n_part_bytes = 0
        for tensor, n_own_bytes in self._add_expanded(_with_parts(tensors), advance or _ignore):
            n_part_bytes += n_own_bytes
            if not tensor.is_part:
                n_bytes.append(n_part_bytes)
                n_part_bytes = 0
        return n_bytes

    def _add_expanded(
        self, tensors: Sequence[Addition], advance: Callable[[int], None]
    ) -> Iterator[tuple[Addition, int]]:
        """Yield each tensor with the bytes of its stream when it has been added."""
        self._check_new([tensor.spec for tensor in tensors])
        digests = list(in_order((partial(_digest, tensor) for tensor in tensors), self._threads))
        targets = [
            self._target(place, tensor, digest)
            for place, (tensor, digest) in enumerate(zip(tensors, digests, strict=True))
        ]
        stored = [
            tensor
            for tensor, target in zip(tensors, targets, strict=True)
            if target is None and not isinstance(tensor.value, LowRank)
        ]
        encoded = iter(self._encode(stored))
        for tensor, digest, target in zip(tensors, digests, targets, strict=True):
            if isinstance(tensor.value, LowRank):
                yield tensor, self._add_low_rank(tensor, digest)
                advance(tensor.spec.n_bytes)
            elif target is None:
                moved = _ignore if tensor.is_part else advance
                yield tensor, self._add_encoded(tensor, *next(encoded), digest, moved)
            else:
                advance(tensor.spec.n_bytes)
                yield tensor, self._add_alias(tensor.spec, target() if callable(target) else target)

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
            append_file(self._spool, out)
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

    def _check_new(self, specs: Sequence[TensorSpec]) -> None:
        taken = {limits.INDEX_NAME, "__metadata__"}
        for spec in specs:
            if spec.name in self._numbers or spec.name in taken:
                raise UsageError(
                    f"{self.path.name}: tensor name {spec.name!r} is taken or reserved; rename it"
                )
            if len(spec.shape) > limits.MAX_RANK:
                raise UsageError(
                    f"{self.path.name}: tensor {spec.name!r} has rank {len(spec.shape)}, "
                    f"at most {limits.MAX_RANK}"
                )
            taken.add(spec.name)

    def _target(self, place: int, tensor: Addition, digest: bytes) -> int | Callable[[], int] | None:
        """Return what a tensor is stored as an alias of, if it is: a number, or how to find it once it has one.

        place: of the tensor among those that are added together.
        """
        if isinstance(tensor.value, Alias):
            name = tensor.value.target
            return lambda: self._holder(self.number(name))
        if not (self._find_ties and isinstance(tensor.value, Dense | Delta | Sparse)) or tensor.is_part:
            return None
        return self._tied(len(self._records) + place, tensor.spec, tensor.value.array, digest)

    def _tied(self, own_number: int, spec: TensorSpec, array: np.ndarray, digest: bytes) -> int | None:
        """Return the number of an earlier tensor that this one is stored as an alias of."""
        if spec.n_bytes < MIN_ALIAS_BYTES:
            return None
        number = self._by_digest.setdefault((spec.dtype, spec.shape, digest), own_number)
        return None if number == own_number or is_constant(array) else number

    def _encode(self, tensors: Sequence[Addition]) -> Iterator[tuple[Encoded, Iterator[EncodedBlock]]]:
        """Yield each tensor's layout and blocks. The blocks must be taken before the next tensor."""
        encoded = self._encode_values(tensors)
        blocks = in_order(chain.from_iterable(one.blocks for one in encoded), self._threads)
        for tensor, one in zip(tensors, encoded, strict=True):
            yield one, islice(blocks, _n_blocks(tensor.spec, one))

    def _encode_values(self, tensors: Sequence[Addition]) -> list[Encoded]:
        """Return the tensors' layouts; the float blocks of small dense tensors are then encoded already."""
        encoded: list[Encoded | None] = [None] * len(tensors)
        dense: list[tuple[int, TensorSpec, np.ndarray]] = []
        n_left = BATCH_BYTES
        for place, tensor in enumerate(tensors):
            if isinstance(tensor.value, Dense) and tensor.spec.n_bytes <= n_left:
                n_left -= tensor.spec.n_bytes
                dense.append((place, tensor.spec, tensor.value.array))
        batch = encode_dense(
            [(spec, array) for _, spec, array in dense], self.context, self._threads, self._memory
        )
        for (place, _, _), one in zip(dense, batch, strict=True):
            encoded[place] = one
        return [
            one or make_layout(layout_of(tensor.value)).encode(tensor.spec, tensor.value, self.context)
            for one, tensor in zip(encoded, tensors, strict=True)
        ]

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

    def _add_low_rank(self, tensor: Addition, digest: bytes) -> int:
        """Add a tensor whose parts have just been added."""
        spec = tensor.spec
        encoded = make_layout(LOW_RANK_LAYOUT).encode(spec, tensor.value, self.context)
        layout, meta = self._layout_number(LOW_RANK_LAYOUT), pack_any(encoded.meta)
        self._append(spec, TensorRecord(spec.dtype, spec.shape, layout, meta, digest, 0, 0, 0, b"", b""), 0)
        return 0

    def _add_encoded(
        self,
        tensor: Addition,
        encoded: Encoded,
        blocks: Iterator[EncodedBlock],
        digest: bytes,
        advance: Callable[[int], None],
    ) -> int:
        spec, release = tensor.spec, tensor.release or _keep
        n_block_bytes = encoded.block_rows * encoded.block_columns * spec.numpy_dtype.itemsize
        blocks_per_release = max(RELEASE_BYTES // max(n_block_bytes, 1), 1)
        n_left = spec.n_bytes
        lengths: list[int] = []
        crcs: list[int] = [encoded.head_crc] if encoded.head else []
        self._spool.write(encoded.head)
        for block in blocks:
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

    def _append(self, spec: TensorSpec, record: TensorRecord, n_bytes: int) -> None:
        spec_of(spec.name, record)
        self._numbers[spec.name] = len(self._records)
        self._records.append(record)
        self._streams.append((spec.name, spec.shape, n_bytes))

    def _layout_number(self, name: str) -> int:
        if name not in self._layouts:
            self._layouts.append(name)
        return self._layouts.index(name)


def _with_parts(tensors: Sequence[Addition]) -> list[Addition]:
    """Put the parts of each low-rank tensor in front of it."""
    found: list[Addition] = []
    for tensor in tensors:
        if isinstance(tensor.value, LowRank):
            check_product(tensor.spec, tensor.value.shape, tensor.value.transposed)
            specs, parts = tensor.value.part_specs(tensor.spec.name), tensor.value.parts()
            found += [Addition(specs[name], part, is_part=True) for name, part in parts.items()]
        found.append(tensor)
    return found


def _ignore(n_bytes: int) -> None:
    """Report to nobody."""


def _keep() -> None:
    """Release nothing."""


def _digest(tensor: Addition) -> bytes:
    if isinstance(tensor.value, Alias):
        return b""
    return digest_of_value(tensor.spec, tensor.value, tensor.release or _keep)


def _n_blocks(spec: TensorSpec, encoded: Encoded) -> int:
    if encoded.block_rows == 0 or encoded.block_columns == 0:
        return 0
    shape = make_layout(encoded.layout).matrix_shape(spec, encoded.meta)
    return n_blocks(*shape, encoded.block_rows, encoded.block_columns)
