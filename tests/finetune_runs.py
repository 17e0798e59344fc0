"""Data that a tiny model learns in seconds, and settings with few and large steps."""

from __future__ import annotations

from pathlib import Path

import numpy as np

SPLITS = {"train": 160, "dev": 24, "test": 24}
QUICK = {"epochs": 9, "learning_rate": 7e-3, "batch_size": 8, "patience": 0, "head_rate": 1, "evaluations": 1}
QUICK_TUNING = {"tune.max_steps": 12, "tune.learning_rate": 2e-3}


def ner_lines(count: int, seed: int) -> str:
    """CoNLL columns: words of two letters; capitals are persons, digits places."""
    generator = np.random.default_rng(seed)
    sentences = []
    for _ in range(count):
        lines = []
        for _ in range(int(generator.integers(3, 7))):
            kind = int(generator.integers(0, 4))
            letters = {0: "ABCDE", 1: "12345"}.get(kind, "fghij")
            word = "".join(generator.choice(list(letters), 2))
            lines.append(f"{word} {['B-PER', 'B-LOC', 'O', 'O'][kind]}")
        sentences.append("\n".join(lines))
    return "\n\n".join(sentences) + "\n"


def write_ner_data(folder: Path) -> Path:
    """train.conll, dev.conll and test.conll."""
    for seed, (split, count) in enumerate(SPLITS.items()):
        (folder / f"{split}.conll").write_text(ner_lines(count, seed))
    return folder
