"""GPTQ as llm-compressor runs it: linear weights in groups of 128, the head and the embeddings in BF16; bytes of the
files that it writes."""

from __future__ import annotations

import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import ClassVar

from tersor.bench.quality.peers import QualityJob, QualityPeer, tensors_of, write_tensor

N_SAMPLES = 64
SAMPLE_TOKENS = 256


class LLMCompressor(QualityPeer):
    """oneshot with GPTQModifier, scheme W8A16 or W4A16."""

    settings: ClassVar[Sequence[str]] = ("W8A16", "W4A16")

    def __init__(self) -> None:
        import llmcompressor  # type: ignore[import-not-found]

        self.version = f"llmcompressor {llmcompressor.__version__}"

    def quantize(self, job: QualityJob) -> int:
        import transformers
        from datasets import Dataset
        from llmcompressor import oneshot
        from llmcompressor.modifiers.quantization import GPTQModifier  # type: ignore[import-not-found]
        from transformers import AutoConfig, AutoTokenizer

        if not job.text:
            raise ValueError("GPTQ needs a calibration text: give --calibration TEXT")
        (architecture,) = AutoConfig.from_pretrained(job.model).architectures
        model = getattr(transformers, architecture).from_pretrained(job.model, dtype="float32")
        tokenizer = AutoTokenizer.from_pretrained(job.model)
        ids = tokenizer(Path(job.text).read_text(encoding="utf-8"))["input_ids"]
        stride = max(SAMPLE_TOKENS, (len(ids) - SAMPLE_TOKENS) // N_SAMPLES)
        samples = [ids[i : i + SAMPLE_TOKENS] for i in range(0, len(ids) - SAMPLE_TOKENS, stride)][:N_SAMPLES]
        rows = [{"input_ids": sample, "attention_mask": [1] * len(sample)} for sample in samples]
        oneshot(
            model=model,
            dataset=Dataset.from_list(rows),
            recipe=GPTQModifier(targets="Linear", scheme=job.setting, ignore=["lm_head"]),
            max_seq_length=SAMPLE_TOKENS,
            num_calibration_samples=len(samples),
        )
        state = model.state_dict()
        for tensor in tensors_of(job):
            values = state[tensor.name].detach().bfloat16().float().numpy()
            write_tensor(job, tensor.number, values.T if tensor.is_transposed else values)
        with tempfile.TemporaryDirectory() as folder:
            model.bfloat16().save_pretrained(folder, save_compressed=True)
            return sum(path.stat().st_size for path in Path(folder).glob("*.safetensors"))
