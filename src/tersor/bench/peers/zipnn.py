"""zipnn, as it is called, and with its pages reused.

It returns new memory from every call, so the kernel clears pages for it each time. Told to keep its memory, glibc hands
out the same pages again, which is as near as zipnn comes to decoding into memory that exists. `threads` is always
given: left out, zipnn would take all cores.
"""

from __future__ import annotations

import warnings
from collections.abc import Sequence

from tersor.bench.peers.base import DECODE_COLD, ENCODE, Buffer, Job, MemoryPeer

NAMES = {
    "BF16": "bfloat16",
    "F16": "float16",
    "F32": "float32",
    "F8_E4M3": "float8_e4m3fn",
    "F8_E5M2": "float8_e5m2",
}
"""zipnn's names of element types. Files of others are called bfloat16, its default."""


class ZipNN(MemoryPeer):
    """The whole file as bytes of one element type."""

    operations = (ENCODE, DECODE_COLD)
    threaded = True
    environments = {  # noqa: RUF012 (declared by the base class)
        "": {},
        "pages reused": {"MALLOC_MMAP_MAX_": "0", "MALLOC_TRIM_THRESHOLD_": str(1 << 40)},
    }

    def __init__(self, job: Job) -> None:
        super().__init__(job)
        from importlib.metadata import version

        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of torch, which it imports
            import zipnn

        self.version = version("zipnn")
        dtype = NAMES.get(job.dtype, NAMES["BF16"])
        self._coder = zipnn.ZipNN(input_format="byte", bytearray_dtype=dtype, threads=job.threads)

    def encode(self, data: bytearray) -> None:
        self._payload = self._coder.compress(data)
        self.n_bytes = len(self._payload)

    def decode(self) -> Sequence[Buffer]:
        return [self._coder.decompress(self._payload)]
