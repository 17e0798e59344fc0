"""HQQ: half-quadratic quantization of linear weights, groups of 64, no calibration text. Everything else stays FP16,
as HQQ keeps it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar

from tersor.bench.quality.peers import QualityJob, QualityPeer, tensors_of, write_tensor

GROUP_SIZE = 64


class Hqq(QualityPeer):
    """hqq.core.quantize.Quantizer on every linear weight; scale and zero point FP16 for each group."""

    settings: ClassVar[Sequence[str]] = ("8 bits", "4 bits", "3 bits", "2 bits")

    def __init__(self) -> None:
        from importlib.metadata import version

        import torch
        from hqq.core.quantize import Quantizer  # type: ignore[import-not-found]

        self._torch, self._quantizer = torch, Quantizer
        self.version = f"hqq {version('hqq')}"
        torch.set_num_threads(1)

    def quantize(self, job: QualityJob) -> int:
        n_bits = int(job.setting.split()[0])
        n_bytes = 0
        for tensor in tensors_of(job):
            values = self._torch.from_numpy(tensor.values)
            if tensor.role != "linear" or values.shape[1] % GROUP_SIZE:
                restored = values.half().float()
                n_bytes += 2 * values.numel()
            else:
                coded, meta = self._quantizer.quantize(
                    values,
                    nbits=n_bits,
                    group_size=GROUP_SIZE,
                    device="cpu",
                    compute_dtype=self._torch.float32,
                )
                restored = self._quantizer.dequantize(coded, meta)
                # 3 bits: ten codes lie in an int32. Scale and zero point are kept in FP16.
                n_bytes += coded.numel() * coded.element_size() + values.numel() // GROUP_SIZE * 4
            write_tensor(job, tensor.number, restored.reshape(values.shape).float().numpy())
        return n_bytes
