"""GPTQ as llm-compressor runs it: linear weights in groups of 128, the head and the embeddings in BF16; bytes of the
files that it writes."""

from __future__ import annotations

import tempfile
from collections.abc import Sequence
from typing import ClassVar

from tersor.bench.quality.peers import QualityJob, QualityPeer
from tersor.bench.quality.samples import (
    SAMPLE_TOKENS,
    file_bytes,
    load_network,
    token_samples,
    write_network,
)


class LLMCompressor(QualityPeer):
    """oneshot with GPTQModifier, scheme W8A16 or W4A16."""

    settings: ClassVar[Sequence[str]] = ("W8A16", "W4A16")

    def __init__(self) -> None:
        import llmcompressor  # type: ignore[import-not-found]

        self.version = f"llmcompressor {llmcompressor.__version__}"

    def quantize(self, job: QualityJob) -> int:
        from datasets import Dataset
        from llmcompressor import oneshot
        from llmcompressor.modifiers.quantization import GPTQModifier  # type: ignore[import-not-found]

        samples = token_samples(job, "GPTQ")
        model = load_network(job)
        rows = [{"input_ids": sample, "attention_mask": [1] * len(sample)} for sample in samples]
        oneshot(
            model=model,
            dataset=Dataset.from_list(rows),
            recipe=GPTQModifier(targets="Linear", scheme=job.setting, ignore=["lm_head"]),
            max_seq_length=SAMPLE_TOKENS,
            num_calibration_samples=len(samples),
        )
        write_network(job, model)
        with tempfile.TemporaryDirectory() as folder:
            model.bfloat16().save_pretrained(folder, save_compressed=True)
            return file_bytes(folder)
