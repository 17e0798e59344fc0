"""Calibration text for peers that take token ids, and what a network that a peer changed in place leaves."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from tersor.bench.quality.peers import QualityJob, tensors_of, write_tensor

N_SAMPLES = 64
SAMPLE_TOKENS = 256


def token_samples(job: QualityJob, method: str) -> list[list[int]]:
    """Evenly spaced pieces of SAMPLE_TOKENS tokens of the job's text, at most N_SAMPLES."""
    from transformers import AutoTokenizer

    if not job.text:
        raise ValueError(f"{method} needs a calibration text: give --calibration TEXT")
    tokenizer = AutoTokenizer.from_pretrained(job.model)
    ids = tokenizer(Path(job.text).read_text(encoding="utf-8"))["input_ids"]
    stride = max(SAMPLE_TOKENS, (len(ids) - SAMPLE_TOKENS) // N_SAMPLES)
    starts = range(0, len(ids) - SAMPLE_TOKENS, stride)
    return [ids[start : start + SAMPLE_TOKENS] for start in starts][:N_SAMPLES]


def load_network(job: QualityJob) -> Any:
    """The job's model of the class that its config.json names, float32."""
    import transformers

    (architecture,) = transformers.AutoConfig.from_pretrained(job.model).architectures
    return getattr(transformers, architecture).from_pretrained(job.model, dtype="float32")


def write_network(job: QualityJob, network: Any) -> None:
    """Write every tensor of the job as the network has it, in BF16; what it has not (a stored buffer) stays."""
    state = network.state_dict()
    for tensor in tensors_of(job):
        if tensor.name not in state:
            write_tensor(job, tensor.number, tensor.values)
            continue
        values = state[tensor.name].detach().bfloat16().float().numpy()
        write_tensor(job, tensor.number, values.T if tensor.is_transposed else values)


def file_bytes(folder: str) -> int:
    """Bytes of the weight files that a peer saved."""
    return sum(path.stat().st_size for path in Path(folder).glob("*.safetensors"))
