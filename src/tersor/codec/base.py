"""The contract of a codec, and the plain views of bytes that every codec works on."""

from __future__ import annotations

from typing import Any, ClassVar, Protocol, TypeAlias

import numpy as np
import numpy.typing as npt

from tersor.errors import CorruptError, UsageError

Buffer: TypeAlias = bytes | bytearray | memoryview | npt.NDArray[Any]
Bytes: TypeAlias = npt.NDArray[np.uint8]


class Codec(Protocol):
    """Bytes to a payload and back. Payloads carry neither the original length nor a checksum.

    name: permanent id of a data format; what it means never changes.
    Guarantee: empty data has the empty payload, in every codec.
    """

    name: ClassVar[str]

    def encode(self, data: Buffer) -> bytes:
        """Return a payload that `decode` turns back into `data`. Deterministic.

        data: any contiguous buffer of any length, 0 included; read as bytes. Not modified.
        """
        ...

    def decode(self, payload: Buffer, out: memoryview) -> None:
        """Fill `out` from `payload`.

        out: writable, contiguous, exactly as long as the original, which the caller knows.
        Raises: CorruptError if the payload is truncated, has bytes left over, or does not decode to exactly
            len(out) bytes (data of one repeated byte may have a payload that fits every length); what `out`
            then holds is unspecified. Never reads or writes out of bounds, never allocates more than
            O(len(out)).
        """
        ...


def input_bytes(data: Buffer) -> Bytes:
    """Return the bytes of `data`, one dimension, without a copy. Raises: UsageError if not contiguous."""
    if isinstance(data, np.ndarray):
        if not data.flags.c_contiguous:
            raise UsageError(f"codec input: array of shape {data.shape} is not C-contiguous; copy it first")
        return data.reshape(-1).view(np.uint8)
    view = memoryview(data)
    if not view.c_contiguous:
        raise UsageError("codec input: the buffer is not contiguous; copy it first")
    return np.frombuffer(view, np.uint8) if view.nbytes else np.empty(0, np.uint8)


def output_bytes(out: memoryview) -> Bytes:
    """Return the bytes of `out` as a writable array. Raises: UsageError if read-only or not contiguous."""
    view = memoryview(out)
    if view.readonly or not view.c_contiguous:
        raise UsageError("codec output: the buffer must be writable and contiguous")
    return np.frombuffer(view, np.uint8) if view.nbytes else np.empty(0, np.uint8)


def check_payload_size(name: str, n_payload: int, n_needed: int) -> None:
    """Raise CorruptError unless the payload of codec `name` has exactly `n_needed` bytes."""
    if n_payload != n_needed:
        raise CorruptError(f"{name} payload: has {n_payload} bytes, needs {n_needed}; the file is damaged")
