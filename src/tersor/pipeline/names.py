"""Names of the archive's files, and tensors that the checkpoint holds twice."""

from __future__ import annotations

from blake3 import blake3

from tersor.archive.folder import archive_name
from tersor.sources.weights import Weights

_MIN_TIED_BYTES = 1 << 16


def archive_names(weights: Weights) -> dict[str, str]:
    """Relative path of each weight file -> its archive file. transformers finds .bin weights under our names, too."""
    names = {}
    for entry in weights.files:
        name = entry.relative.rpartition("/")[2]
        stem = name.removesuffix(".bin").removesuffix(".pt").removesuffix(".safetensors")
        stem = stem.replace("pytorch_model", "model", 1)
        names[entry.relative] = archive_name(f"{stem}.safetensors")
    return names


def equal_tensors(weights: Weights) -> dict[str, str]:
    """Tied tensors that the checkpoint holds twice: name -> earlier name with the same dtype, shape and bytes."""
    first: dict[tuple[str, tuple[int, ...], bytes], str] = {}
    by_shape: dict[tuple[str, tuple[int, ...]], list[str]] = {}
    for spec in weights:
        if spec.n_bytes >= _MIN_TIED_BYTES and spec.name not in weights.aliases:
            by_shape.setdefault((spec.dtype, spec.shape), []).append(spec.name)
    ties = {}
    for (dtype, shape), names in by_shape.items():
        for name in names if len(names) > 1 else ():
            digest = blake3(weights.raw(name)).digest()
            weights.release(name)
            earlier = first.setdefault((dtype, shape, digest), name)
            same_file = weights.file_of[earlier] == weights.file_of[name]
            if earlier != name and same_file and weights.read(name).reshape(-1)[:1].any():
                ties[name] = earlier
    return ties
