"""lmzip (its module is called lmz): file to file, checksums included, as its two functions are called."""

from __future__ import annotations

from pathlib import Path

from tersor.bench.peers.base import FilePeer, Job


class Lmzip(FilePeer):
    """One .lmz file."""

    threaded = True

    def __init__(self, job: Job) -> None:
        super().__init__(job)
        import lmz

        self.version = lmz.__version__
        self._lmz = lmz
        self._packed = Path(job.folder) / "packed.lmz"
        self._restored = Path(job.folder) / "restored"

    def pack(self) -> None:
        self._packed.unlink(missing_ok=True)
        self._lmz.compress(self.job.path, str(self._packed), workers=self.job.threads)
        self.n_bytes = self._packed.stat().st_size

    def unpack(self) -> Path:
        self._restored.unlink(missing_ok=True)
        self._lmz.decompress(str(self._packed), str(self._restored), workers=self.job.threads)
        return self._restored
