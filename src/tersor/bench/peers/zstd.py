"""zstd at level 3, through python-zstandard. Threads help its encoder alone."""

from __future__ import annotations

from collections.abc import Sequence

from tersor.bench.peers.base import Buffer, Job, MemoryPeer


class Zstd(MemoryPeer):
    """One frame of the whole file."""

    threaded = True
    environments = {"level 3": {}}  # noqa: RUF012 (declared by the base class)

    def __init__(self, job: Job) -> None:
        super().__init__(job)
        import zstandard

        self.version = zstandard.__version__
        self._zstandard = zstandard
        self._n_threads = job.threads if job.threads > 1 else 0  # 1 would start a worker beside this thread

    def encode(self, data: bytearray) -> None:
        self._payload = self._zstandard.ZstdCompressor(level=3, threads=self._n_threads).compress(data)
        self.n_bytes = len(self._payload)

    def decode(self) -> Sequence[Buffer]:
        return [self._zstandard.ZstdDecompressor().decompress(self._payload)]

    def decode_into(self, out: bytearray) -> Sequence[Buffer]:
        reader = self._zstandard.ZstdDecompressor().stream_reader(self._payload)
        view, n_done = memoryview(out), 0
        while n_new := reader.readinto(view[n_done:]):
            n_done += n_new
        return [view[:n_done]]
