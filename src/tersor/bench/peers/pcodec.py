"""pcodec at its default level: the file as numbers of its float type (BF16 as 16-bit integers)."""

from __future__ import annotations

from collections.abc import Sequence

from tersor.bench.peers.base import Buffer, Job, MemoryPeer
from tersor.bench.peers.words import split_words


class Pcodec(MemoryPeer):
    """One standalone file of all numbers; the bytes that fill no number are kept beside it and counted."""

    def __init__(self, job: Job) -> None:
        super().__init__(job)
        from importlib.metadata import version

        from pcodec import ChunkConfig, standalone

        self.version = version("pcodec")
        self._standalone, self._config = standalone, ChunkConfig()

    def encode(self, data: bytearray) -> None:
        words, self._tail = split_words(data, self.job.dtype)
        self._payload = self._standalone.simple_compress(words, self._config)
        self.n_bytes = len(self._payload) + len(self._tail)

    def decode(self) -> Sequence[Buffer]:
        return [self._standalone.simple_decompress(self._payload).view("uint8").data, self._tail]

    def decode_into(self, out: bytearray) -> Sequence[Buffer]:
        words, _ = split_words(out, self.job.dtype)
        self._standalone.simple_decompress_into(self._payload, words)
        return [words.view("uint8").data, self._tail]
