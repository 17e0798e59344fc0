"""NNCodec: the reference software of ISO/IEC 15938-17 (neural network coding): trellis-like dependent quantization and
CABAC over the whole model at one quantization parameter, no calibration text."""

from __future__ import annotations

import importlib.util
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import ClassVar
from unittest.mock import MagicMock

from tersor.bench.quality.peers import QualityJob, QualityPeer, tensors_of, write_tensor

_DATA_SETS = (
    "torchvision",
    "torchvision.datasets",
    "torchvision.transforms",
    "torchvision.models",
    "torchvision.io",
)


class NNCodec(QualityPeer):
    """nncodec.nnc.compress with its defaults; the setting is `qp`: four steps down halve the quantization step."""

    settings: ClassVar[Sequence[str]] = ("qp -32", "qp -28", "qp -26", "qp -24", "qp -22", "qp -20")

    def __init__(self) -> None:
        from importlib.metadata import version

        if importlib.util.find_spec("nncodec") is None:
            raise ModuleNotFoundError("no nncodec", name="nncodec")
        _without_data_sets()
        from nncodec import nnc  # type: ignore[import-not-found]

        self._coder = nnc
        self.version = f"nncodec {version('nncodec')}"

    def quantize(self, job: QualityJob) -> int:
        numbers = {tensor.name: tensor.number for tensor in tensors_of(job)}
        weights = {tensor.name: tensor.values for tensor in tensors_of(job)}
        with tempfile.TemporaryDirectory() as folder:
            coded = self._coder.compress(
                weights,
                bitstream_path=str(Path(folder) / "bitstream.nnc"),
                qp=int(job.setting.split()[1]),
                return_bitstream=True,
            )
        restored = self._coder.decompress(coded)
        for name, number in numbers.items():
            write_tensor(job, number, restored[name].reshape(weights[name].shape))
        return len(coded)


def _without_data_sets() -> None:
    """Let `import nncodec` succeed beside a CPU build of torch, where PyPI's torchvision does not load: it wants
    torchvision for image data sets that are not used here."""
    for name in _DATA_SETS:
        sys.modules.setdefault(name, MagicMock(__path__=[], __spec__=None))
