"""What the sources that find tensors inside a container share: byte ranges of a memory-mapped file, checked.

A kind of file is a subclass with one method, `locate`: the file's bytes in, the places of its tensors out.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from math import prod
from pathlib import Path
from types import MappingProxyType, TracebackType
from typing import ClassVar, Self

import numpy as np

from tersor.errors import CorruptError
from tersor.sources.base import Literal, Segment, TensorBytes, no_such_tensor
from tersor.sources.header import MAX_RANK
from tersor.sources.mapped import MappedFile
from tersor.types import TensorSpec

MAX_TENSORS = 1 << 17
# A longer run of bytes between tensors (a vocabulary, say) is a tensor of its own: it is coded in blocks then,
# and does not make the archive's index, which every reader decompresses first, long.
MAX_GAP_BYTES = 1 << 18


class StructureError(ValueError):
    """A rule of its kind that a file breaks; `ExtentFile` adds the file's name and makes a CorruptError of it."""


@dataclass(frozen=True, slots=True)
class Place:
    """A tensor and the bytes begin..end of the file that hold it."""

    spec: TensorSpec
    begin: int
    end: int


@dataclass(frozen=True, slots=True)
class Contents:
    """What `locate` found.

    places: of the tensors, in any order. aliases: further names of them, alias -> name of a place.
    n_head_bytes: bytes at the start of the file that are a segment of their own, whatever their number.
    """

    places: list[Place]
    aliases: dict[str, str] = field(default_factory=dict)
    n_head_bytes: int = 0


class ExtentFile(ABC):
    """A file whose tensors are byte ranges of it; an `ExactSource`.

    specs: in file order, aliases last. A gap of more than MAX_GAP_BYTES is a U8 tensor called `bytes@BEGIN`.
    extents: name -> (begin, end), absolute file offsets, in the order of `specs`; no two overlap, but those of
        aliases.
    """

    kind: ClassVar[str]
    exact: ClassVar[bool] = True

    def __init__(self, path: Path | str) -> None:
        self.path = Path(path)
        self._file = MappedFile(self.path)
        self.n_bytes = self._file.n_bytes
        try:
            found = self.locate(self._file.view(0, self.n_bytes))
            places = _in_order(found.places, found.n_head_bytes, self.n_bytes)
            places = _with_long_gaps(places, found.n_head_bytes, self.n_bytes)
            places += _alias_places(found.aliases, places)
            _check_names(places)
        except StructureError as exc:
            raise CorruptError(
                f"{self.path}: as a {self.kind} file: {exc}; it is damaged, or holds what tersor does not know"
            ) from exc
        self._n_head_bytes = found.n_head_bytes
        self.specs: tuple[TensorSpec, ...] = tuple(place.spec for place in places)
        self.extents = {place.spec.name: (place.begin, place.end) for place in places}
        self.aliases: Mapping[str, str] = MappingProxyType(found.aliases)
        self._spec_of = {spec.name: spec for spec in self.specs}

    @abstractmethod
    def locate(self, data: memoryview) -> Contents:
        """Return where the tensors lie in the file's bytes. Raises StructureError, NewerFormatError."""

    def segments(self) -> list[Segment]:
        """Return the file's parts in file order: tensors (no aliases) and what lies between them."""
        position = self._n_head_bytes
        parts: list[Segment] = [Literal(0, position)] if position else []
        for name, (begin, end) in self.extents.items():
            if name in self.aliases:
                continue
            if position < begin:
                parts.append(Literal(position, begin))
            parts.append(TensorBytes(name))
            position = end
        if position < self.n_bytes:
            parts.append(Literal(position, self.n_bytes))
        return parts

    def segment_bytes(self, segment: Segment) -> memoryview:
        """Return the bytes of a segment of `segments`, read-only, memory-mapped."""
        if isinstance(segment, TensorBytes):
            return self.raw(segment.name)
        return self._file.view(segment.begin, segment.end)

    def spec(self, name: str) -> TensorSpec:
        """Return the spec of a tensor. Raises UnknownNameError naming the nearest."""
        if name not in self._spec_of:
            raise no_such_tensor(self.path, name, self._spec_of)
        return self._spec_of[name]

    def read(self, name: str) -> np.ndarray:
        """Return the tensor, read-only: a view of the map, or a copy if the file stores it unaligned."""
        spec = self.spec(name)
        begin, end = self.extents[name]
        array = self._file.data[begin:end].view(spec.numpy_dtype).reshape(spec.numpy_shape)
        if not array.flags.aligned:
            array = array.copy()
            array.flags.writeable = False
        return array

    def raw(self, name: str) -> memoryview:
        """Return the tensor's bytes as they stand in the file, read-only, memory-mapped."""
        self.spec(name)
        return self._file.view(*self.extents[name])

    def release(self, name: str) -> None:
        """Let the system drop the tensor's pages; arrays that were handed out stay valid."""
        self.spec(name)
        self._file.release(*self.extents[name])

    def close(self) -> None:
        """Forget the file. Arrays that were handed out stay valid."""
        self._file.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


def short(name: str) -> str:
    """Return a name from a file quoted, cut to a length that fits a message."""
    return repr(name if len(name) <= 200 else name[:200] + "...")


def _in_order(places: Iterable[Place], begin: int, n_bytes: int) -> list[Place]:
    """Return the places sorted; each is in bytes begin..n_bytes, as long as its spec says, and overlaps no other."""
    ordered = sorted(places, key=lambda place: (place.begin, place.end))
    if len(ordered) > MAX_TENSORS:
        raise StructureError(f"{len(ordered)} tensors, at most {MAX_TENSORS} are allowed")
    position = begin
    for place in ordered:
        _check_place(place, position, n_bytes)
        position = place.end
    return ordered


def _check_place(place: Place, position: int, n_bytes: int) -> None:
    spec = place.spec
    # Without the zeros: numpy refuses (0, 2**62, 2**62) although it is empty.
    widest = prod(size for size in spec.shape if size) * spec.numpy_dtype.itemsize
    if len(spec.shape) > MAX_RANK or min(spec.shape, default=0) < 0 or widest >= 1 << 63:
        raise StructureError(f"tensor {short(spec.name)}: no array can have its shape")
    if place.begin < position or place.end > n_bytes:
        raise StructureError(
            f"tensor {short(spec.name)} lies at {place.begin}..{place.end}, needs {position}..{n_bytes}"
        )
    if place.end - place.begin != spec.n_bytes:
        raise StructureError(
            f"tensor {short(spec.name)}: {spec.dtype} {list(spec.shape)} is {spec.n_bytes} bytes, "
            f"the file holds {place.end - place.begin}"
        )


def _with_long_gaps(places: list[Place], begin: int, n_bytes: int) -> list[Place]:
    """Return the places in bytes begin..n_bytes with one more for each long gap."""
    result: list[Place] = []
    position = begin
    end_of_file = Place(TensorSpec("", "U8", (0,)), n_bytes, n_bytes)
    for place in [*places, end_of_file]:
        n_gap = place.begin - position
        if n_gap > MAX_GAP_BYTES:
            result.append(Place(TensorSpec(f"bytes@{position}", "U8", (n_gap,)), position, place.begin))
        if place is not end_of_file:
            result.append(place)
        position = place.end
    return result


def _alias_places(aliases: Mapping[str, str], places: list[Place]) -> list[Place]:
    by_name = {place.spec.name: place for place in places}
    targets = [(name, by_name[target]) for name, target in aliases.items()]
    return [
        Place(TensorSpec(name, target.spec.dtype, target.spec.shape), target.begin, target.end)
        for name, target in targets
    ]


def _check_names(places: list[Place]) -> None:
    seen: set[str] = set()
    for name in (place.spec.name for place in places):
        if name in seen:
            raise StructureError(f"two tensors are called {short(name)}")
        seen.add(name)
