"""What memory itself can do: the bytes copied as they are."""

from __future__ import annotations

from collections.abc import Sequence

from tersor.bench.peers.base import Buffer, MemoryPeer


class Memcpy(MemoryPeer):
    """A copy, into new memory or into memory that is there."""

    def encode(self, data: bytearray) -> None:
        self._payload = bytes(data)
        self.n_bytes = len(self._payload)

    def decode(self) -> Sequence[Buffer]:
        return [bytearray(self._payload)]

    def decode_into(self, out: bytearray) -> Sequence[Buffer]:
        memoryview(out)[:] = self._payload
        return [out]
