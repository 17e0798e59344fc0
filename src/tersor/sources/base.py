"""What every source offers: the tensors of one file, found without reading them."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import ClassVar, Protocol

import numpy as np

from tersor.errors import UnknownNameError
from tersor.registry import did_you_mean
from tersor.types import TensorSpec


def no_such_tensor(path: Path, name: str, known: Collection[str]) -> UnknownNameError:
    """Return the error for a name that a source does not hold."""
    return UnknownNameError(
        f"{path}: no tensor {name!r}{did_you_mean(name, known)} The file holds {len(known)} tensors."
    )


@dataclass(frozen=True, slots=True)
class Literal:
    """Bytes begin..end of the file that belong to no tensor: a header, or a gap."""

    begin: int
    end: int


@dataclass(frozen=True, slots=True)
class TensorBytes:
    """The bytes of one tensor, as `Source.raw` gives them."""

    name: str


Segment = Literal | TensorBytes


class Source(Protocol):
    """One file as a stream of tensors. The constructor takes the path and checks all of the file's structure.

    Guarantee: a constructed source never reads outside the file, and allocates for a tensor only
        what the file's own size justifies.
    Raises: UsageError if the file cannot be opened, CorruptError if it is not what it claims to be,
        NewerFormatError for an element type that tersor does not know.
    """

    kind: ClassVar[str]
    """The name in `SOURCES`."""

    exact: ClassVar[bool]
    """Whether it is an `ExactSource`."""

    path: Path
    n_bytes: int
    """Size of the file."""

    specs: tuple[TensorSpec, ...]
    """Every tensor, aliases too, in the order that reads the file forward."""

    aliases: Mapping[str, str]
    """Names that are the same memory as an earlier name of `specs` (tied weights)."""

    def __init__(self, path: Path) -> None: ...

    @classmethod
    def matches(cls, path: Path, head: bytes, n_bytes: int) -> bool:
        """Return whether the file claims to be of this kind, from its name, first 64 bytes and size."""

    def read(self, name: str) -> np.ndarray:
        """Return the tensor: read-only, aligned, C-contiguous, of the spec's numpy_dtype and numpy_shape.

        Raises: UnknownNameError naming the nearest.
        """

    def raw(self, name: str) -> memoryview:
        """Return the tensor's n_bytes bytes, little endian, row-major, read-only."""

    def release(self, name: str) -> None:
        """Let the system drop the tensor's pages; arrays that were handed out stay valid."""

    def close(self) -> None:
        """Forget the file. Arrays that were handed out stay valid."""

    def __enter__(self) -> Source: ...

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None: ...


class ExactSource(Source, Protocol):
    """A source that accounts for every byte of its file, so that the file can be restored from its parts."""

    def segments(self) -> list[Segment]:
        """Return the file's parts in file order; their bytes, joined, are the file.

        Every tensor but the aliases occurs once.
        """

    def segment_bytes(self, segment: Segment) -> memoryview:
        """Return the bytes of one of `segments`, read-only."""
