"""tersor itself. Its sizes are those of the whole archive file: header, index, tables, checksums."""

from __future__ import annotations

import shutil
from collections.abc import Sequence
from itertools import chain
from pathlib import Path
from typing import TYPE_CHECKING

from tersor.bench.peers.base import OPERATIONS, Buffer, FilePeer, Job, MemoryPeer

if TYPE_CHECKING:
    import numpy as np

    from tersor.archive import Archive

    Open = tuple[Archive, dict[str, np.ndarray]]


class Tersor(MemoryPeer, FilePeer):
    """`pack` and `unpack` are the commands; `encode` and the decoders leave out files, hashes and the index.

    Decoding is `Archive.read_all`, CRC-32C checked. Warm, the archive has been open and read before; cold
    begins with opening it.
    """

    operations = OPERATIONS
    threaded = True

    def __init__(self, job: Job) -> None:
        import tersor
        from tersor.layouts.float_blocks import Memory
        from tersor.sources import open_exact

        super().__init__(job)
        self.version = tersor.__version__
        self._source = open_exact(job.path)
        self._specs = [spec for spec in self._source.specs if spec.name not in self._source.aliases]
        self._arrays = [(spec, self._source.read(spec.name).copy()) for spec in self._specs]
        self._memory = Memory()
        self._packed = Path(job.folder) / "packed"
        self._restored = Path(job.folder) / "restored"

    def expected(self) -> Sequence[Buffer]:
        return [self._source.raw(spec.name) for spec in self._specs]

    def encode(self, data: bytearray) -> None:
        from tersor.archive.parallel import in_order
        from tersor.layouts.dense_batch import encode_dense
        from tersor.layouts.float_tables import float_context

        context = float_context(lambda: self._arrays, self.job.level, "auto", self.job.threads)
        encoded = encode_dense(self._arrays, context, self.job.threads, self._memory)
        jobs = chain.from_iterable(tensor.blocks for tensor in encoded)
        self._blocks = [block.payload for block in in_order(jobs, self.job.threads)]

    def pack(self) -> None:
        import tersor

        shutil.rmtree(self._packed, ignore_errors=True)
        tersor.pack(self.job.path, self._packed, level=self.job.level, threads=self.job.threads)
        self.n_bytes = sum(path.stat().st_size for path in self._packed.rglob("*.tersor.safetensors"))

    def unpack(self) -> Path:
        import tersor

        self._restored.unlink(missing_ok=True)
        tersor.unpack(self._packed, self._restored, threads=self.job.threads)
        return self._restored

    def new_out(self) -> Open:
        import numpy as np

        import tersor

        arrays = {spec.name: np.ones(spec.numpy_shape, spec.numpy_dtype) for spec in self._specs}
        archive = tersor.open(self._packed)
        # A tensor's first reading also prepares its blocks.
        archive.read_all(out=arrays, threads=self.job.threads)
        for array in arrays.values():
            array.reshape(-1).view("uint8")[...] = 1
        return archive, arrays

    def decode_into(self, out: Open) -> Sequence[Buffer]:
        archive, arrays = out
        archive.read_all(out=arrays, threads=self.job.threads)
        return [_bytes_of(array) for array in arrays.values()]

    def decode(self) -> Sequence[Buffer]:
        import tersor

        with tersor.open(self._packed) as archive:
            arrays = archive.read_all([spec.name for spec in self._specs], threads=self.job.threads)
        return [_bytes_of(array) for array in arrays.values()]


def _bytes_of(array: np.ndarray) -> memoryview:
    return array.reshape(-1).view("uint8").data
