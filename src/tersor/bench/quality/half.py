"""The checkpoint cast to half precision: what most people store, and the reference that every method has to beat."""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar

from tersor.bench.quality.peers import QualityJob, QualityPeer, tensors_of, write_tensor


class Half(QualityPeer):
    """Round every element to FP16."""

    settings: ClassVar[Sequence[str]] = ("FP16",)

    def __init__(self) -> None:
        import numpy as np

        self._numpy = np
        self.version = f"numpy {np.__version__}"

    def quantize(self, job: QualityJob) -> int:
        n_bytes = 0
        for tensor in tensors_of(job):
            halves = tensor.values.astype(self._numpy.float16)
            write_tensor(job, tensor.number, halves)
            n_bytes += halves.nbytes
        return n_bytes
