"""Codec `constant`: one byte, repeated."""

from __future__ import annotations

from typing import ClassVar

import numpy as np

from tersor.codec.base import Buffer, check_payload_size, input_bytes, output_bytes
from tersor.errors import UsageError


def is_constant(data: Buffer) -> bool:
    """Return whether all bytes of `data` are equal (also true of no bytes)."""
    view = input_bytes(data)
    return view.size == 0 or bool((view == view[0]).all())


class Constant:
    """Stores data whose bytes are all equal as that byte."""

    name: ClassVar[str] = "constant"

    def encode(self, data: Buffer) -> bytes:
        """Return the repeated byte, or nothing for no data. Raises: UsageError if two bytes differ."""
        view = input_bytes(data)
        if not is_constant(view):
            other = int(np.argmax(view != view[0]))
            raise UsageError(
                f"codec 'constant' needs equal bytes, but byte {other} is {view[other]}, byte 0 is {view[0]}; "
                "use another codec, or 'auto', which offers 'constant' only where it applies"
            )
        return view[:1].tobytes()

    def decode(self, payload: Buffer, out: memoryview) -> None:
        """Fill `out` with the byte. Raises: CorruptError unless the payload is that one byte."""
        source, target = input_bytes(payload), output_bytes(out)
        check_payload_size(self.name, source.size, min(target.size, 1))
        target[:] = source
