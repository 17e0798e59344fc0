"""How large a model is on disk."""

from __future__ import annotations

from os import PathLike
from pathlib import Path

from tersor.errors import UsageError

# Tried in this order, as transformers chooses: a folder with both safetensors and .bin has its weights twice.
_KINDS = ("*.tersor.safetensors", "*.safetensors", "pytorch_model*.bin", "*.bin", "*.pt", "*.pth", "*.gguf")
# Written by trainers beside the weights.
_NOT_WEIGHTS = frozenset(
    {"training_args.bin", "optimizer.bin", "scheduler.bin", "optimizer.pt", "scheduler.pt"}
)


def weight_files(path: str | PathLike[str]) -> list[Path]:
    """The weight files of a model folder, sorted: all of the first kind found of
    *.tersor.safetensors, *.safetensors, pytorch_model*.bin, *.bin, *.pt, *.pth, *.gguf; or the one file given.

    Raises: UsageError if there is none.
    """
    root = Path(path)
    if root.is_file():
        return [root]
    for kind in _KINDS:
        found = sorted(file for file in root.rglob(kind) if file.is_file() and file.name not in _NOT_WEIGHTS)
        if found:
            return found
    raise UsageError(f"{root}: no weight files here; looked for {', '.join(_KINDS)}")


def weight_bytes(path: str | PathLike[str]) -> int:
    """Bytes of the weight files, everything in them included. Raises: UsageError if there are none."""
    return sum(file.stat().st_size for file in weight_files(path))
