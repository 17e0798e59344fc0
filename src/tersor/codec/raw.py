"""Codec `raw`: the payload is the data."""

from __future__ import annotations

from typing import ClassVar

from tersor.codec.base import Buffer, check_payload_size, input_bytes, output_bytes


class Raw:
    """Stores bytes as they are; what is left when nothing else makes them fewer."""

    name: ClassVar[str] = "raw"

    def encode(self, data: Buffer) -> bytes:
        """Return `data` itself."""
        return input_bytes(data).tobytes()

    def decode(self, payload: Buffer, out: memoryview) -> None:
        """Copy `payload` into `out`. Raises: CorruptError unless they are equally long."""
        source, target = input_bytes(payload), output_bytes(out)
        check_payload_size(self.name, source.size, target.size)
        target[:] = source
