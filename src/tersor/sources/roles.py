"""What a file of a checkpoint is for, from its name, its size and its first bytes."""

from __future__ import annotations

from fnmatch import fnmatchcase
from pathlib import Path, PurePosixPath
from typing import Literal

from tersor.sources import source_kind

Role = Literal["weights", "side", "plain"]

MAX_SIDE_BYTES = 16 << 20

# torch saves a trainer's state under these names beside the weights; it is no model.
TRAINING_STATE = ("training_args.bin", "optimizer.*", "scheduler.*", "rng_state*", "scaler.*")
WEIGHT_INDEX = ("*.safetensors.index.json", "*.bin.index.json")
TOKENIZER = ("tokenizer*", "vocab*", "merges.txt", "sentencepiece*.model", "spiece.model", "*.tiktoken")
SIDE = (
    *TOKENIZER,
    "*.json",
    "*.model",
    "*.jinja",
    "*.py",
    "README*",
    "LICENSE*",
    "LICENCE*",
    "NOTICE*",
    ".gitattributes",
)


def role_of(relative: str, path: Path, n_bytes: int) -> Role:
    """Return the role of a file, by the first rule that fits.

    relative: its POSIX path inside the checkpoint.
    1. "weights": a name in *.safetensors, or a torch file (*.bin, *.pt, *.pth, *.ckpt with torch's first
       bytes) that is no trainer state (TRAINING_STATE). A damaged .safetensors is weights too.
    2. "plain": anything in a hidden folder (.git, .cache), and the index of weight shards, which would
       send a loader to files that are not beside the archive.
    3. "side": kept as it is beside the archive, because loaders and readers look for it by name: a name
       in SIDE of at most 16 MiB, or of any size if in TOKENIZER.
    4. "plain": everything else; packed as bytes.
    """
    name = PurePosixPath(relative).name
    if name.endswith(".safetensors"):
        return "weights"
    if source_kind(path) == "torch" and not _fits(name, TRAINING_STATE):
        return "weights"
    hidden_folder = any(part.startswith(".") for part in PurePosixPath(relative).parts[:-1])
    if hidden_folder or _fits(name, WEIGHT_INDEX):
        return "plain"
    if _fits(name, TOKENIZER) or (_fits(name, SIDE) and n_bytes <= MAX_SIDE_BYTES):
        return "side"
    return "plain"


def _fits(name: str, patterns: tuple[str, ...]) -> bool:
    return any(fnmatchcase(name, pattern) for pattern in patterns)
