"""Quantizers of other projects, one module each, behind one contract. A new one is one line in `QUALITY_PEERS`.

They run in interpreters that have no tersor: modules of this folder that a worker loads import the standard library
and the peer's own packages alone.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

from tersor.registry import Registry

if TYPE_CHECKING:
    import numpy as np

QUALITY_PEERS: Registry[type[QualityPeer]] = Registry(
    "quality_peer",
    {
        "half": "tersor.bench.quality.half:Half",
        "ggml": "tersor.bench.quality.ggml:Ggml",
        "hqq": "tersor.bench.quality.hqq:Hqq",
        "nncodec": "tersor.bench.quality.nncodec:NNCodec",
        "llmcompressor": "tersor.bench.quality.llmcompressor:LLMCompressor",
        "autoround": "tersor.bench.quality.autoround:AutoRound",
    },
)


@dataclass(frozen=True, slots=True)
class QualityJob:
    """What one process quantizes, once.

    model: the Hugging Face folder. text: calibration text, "" for none. setting: one of the peer's `settings`.
    tensors: folder of the checkpoint's tensors as float32 .npy files by number, with `names.json` (a list of [name,
        role, is transposed], role "linear", "embedding", "head" or "other"); transposed: (in, out) in the model, (out,
        in) here. importance: folder of .npy files by the same numbers:
        mean square of each input of a linear layer (float32); absent where unknown. out: where the peer leaves the
        tensors as its format restores them, float32 .npy under the same numbers.
    """

    model: str
    text: str
    setting: str
    tensors: str
    importance: str
    out: str


class QualityPeer(ABC):
    """One quantizer. The constructor imports its packages; ModuleNotFoundError: it is not installed."""

    settings: ClassVar[Sequence[str]]
    """From large to small."""

    version: str = ""

    @abstractmethod
    def quantize(self, job: QualityJob) -> int:
        """Write all tensors to job.out; return the bytes that all of them take in the peer's own format."""


@dataclass(frozen=True, slots=True)
class Tensor:
    """One tensor of a job. importance: of a linear layer's inputs, if known. is_transposed: as in `QualityJob`."""

    number: int
    name: str
    role: str
    values: np.ndarray
    importance: np.ndarray | None
    is_transposed: bool = False


def tensors_of(job: QualityJob) -> Iterator[Tensor]:
    """Yield the tensors of a job, one in memory at a time."""
    import json

    import numpy as np

    names: list[Any] = json.loads((Path(job.tensors) / "names.json").read_text(encoding="utf-8"))
    for number, (name, role, is_transposed) in enumerate(names):
        path = Path(job.importance) / f"{number}.npy"
        known = np.load(path) if path.is_file() else None
        values = np.load(Path(job.tensors) / f"{number}.npy")
        yield Tensor(number, name, role, values, known, is_transposed)


def write_tensor(job: QualityJob, number: int, values: np.ndarray) -> None:
    """Leave a restored tensor where the parent looks for it."""
    import numpy as np

    np.save(Path(job.out) / f"{number}.npy", np.ascontiguousarray(values, np.float32))
