"""AutoRound: rounding learned block by block with signed gradients, linear weights of decoders in groups of 128, the
head and the embeddings in BF16; bytes of the files that it writes."""

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

N_STEPS = 200  # its default


class AutoRound(QualityPeer):
    """auto_round.AutoRound, symmetric, its defaults but for the text."""

    settings: ClassVar[Sequence[str]] = ("4 bits", "3 bits", "2 bits")

    def __init__(self) -> None:
        import auto_round  # type: ignore[import-not-found]

        self.version = f"auto-round {auto_round.__version__}"

    def quantize(self, job: QualityJob) -> int:
        import auto_round
        import torch
        from transformers import AutoTokenizer

        samples = token_samples(job, "AutoRound")
        network = load_network(job)
        rows = [
            {
                "input_ids": torch.tensor([sample]),
                "attention_mask": torch.ones(1, len(sample), dtype=torch.long),
            }
            for sample in samples
        ]
        rounding = auto_round.AutoRound(
            network,
            tokenizer=AutoTokenizer.from_pretrained(job.model),
            bits=int(job.setting.split()[0]),
            group_size=128,
            sym=True,
            dataset=rows,
            nsamples=len(rows),
            seqlen=SAMPLE_TOKENS,
            iters=N_STEPS,
            device_map="cpu",
        )
        rounded, _ = rounding.quantize()
        write_network(job, rounded)
        with tempfile.TemporaryDirectory() as folder:
            rounding.save_quantized(folder, format="auto_round", inplace=True)
            return file_bytes(folder)
