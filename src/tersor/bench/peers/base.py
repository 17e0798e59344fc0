"""What a coder that is measured has to offer. Importing a peer's module needs nothing but the standard library."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

Buffer = bytes | bytearray | memoryview

ENCODE, DECODE_WARM, DECODE_COLD, PACK, UNPACK = "encode", "decode_warm", "decode_cold", "pack", "unpack"
OPERATIONS = (PACK, UNPACK, ENCODE, DECODE_WARM, DECODE_COLD)
"""In the order in which a run performs them.

encode: memory to memory. decode_warm: all that can be there before is there, above all the memory to decode into.
decode_cold: from nothing but the coded bytes, into memory that the coder allocates. pack, unpack: file to file, with
everything that the command does (hashing, writing).
"""


@dataclass(frozen=True, slots=True)
class Job:
    """What one process measures.

    path: the file to code. dtype: the safetensors name of most of its elements. folder: where files may be written.
    level: one of tersor's levels, "" for others. threads: how many the coder may use.
    """

    path: str
    dtype: str
    folder: str
    level: str = ""
    threads: int = 1


class Peer(ABC):
    """One coder at work on one file: a `MemoryPeer`, a `FilePeer` or both.

    The constructor imports the coder's package; ModuleNotFoundError means that it is not installed.
    """

    operations: ClassVar[Sequence[str]]
    """Those of OPERATIONS that it can do."""

    environments: ClassVar[Mapping[str, Mapping[str, str]]] = {"": {}}
    """Environment variables to measure it under, by what that is called; "": as it is."""

    threaded: ClassVar[bool] = False
    """Whether it can use more than one thread."""

    version: str = ""
    n_bytes: int = 0
    """Bytes of all that has to be stored; known after `pack`, or after `encode` if it cannot pack."""

    def __init__(self, job: Job) -> None:
        self.job = job
        self.original = Path(job.path).read_bytes()


class MemoryPeer(Peer):
    """Codes from memory to memory. `operations` without decode_warm: it only returns new memory."""

    operations: ClassVar[Sequence[str]] = (ENCODE, DECODE_WARM, DECODE_COLD)

    @abstractmethod
    def encode(self, data: bytearray) -> None:
        """Code the file's bytes (which may be altered) and keep the result."""

    def expected(self) -> Sequence[Buffer]:
        """Return what the decoders have to return; here the whole file."""
        return [self.original]

    def new_out(self) -> Any:
        """Return what `decode_into` needs: memory, every page of it written to."""
        return bytearray(b"\1") * len(self.original)

    def decode_into(self, out: Any) -> Sequence[Buffer]:
        """Decode into `out` and return its pieces."""
        memoryview(out)[:] = b"".join(self.decode())
        return [out]

    @abstractmethod
    def decode(self) -> Sequence[Buffer]:
        """Decode into new memory and return it in pieces."""


class FilePeer(Peer):
    """Codes from file to file."""

    operations: ClassVar[Sequence[str]] = (PACK, UNPACK)

    @abstractmethod
    def pack(self) -> None:
        """Code the file into files in the job's folder."""

    @abstractmethod
    def unpack(self) -> Path:
        """Restore the file from those files and return its path."""
