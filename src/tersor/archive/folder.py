"""The archive folder around the archive files (docs/format.md 1 and 3.4): names, side files, the folder record."""

from __future__ import annotations

import json
import os
from collections.abc import Collection, Mapping
from hashlib import sha256
from pathlib import Path, PurePosixPath

from tersor.archive.index import SideRecord
from tersor.archive.limits import ARCHIVE_SUFFIX
from tersor.errors import UsageError

SHARD_INDEX_NAME = "model.safetensors.index.json"
TORCH_SHARD_INDEX_NAME = "pytorch_model.bin.index.json"
CONFIG_NAME = "config.json"
# What a loader opens first in a folder, in this order.
LOADED_NAMES = (
    f"model{ARCHIVE_SUFFIX}",
    f"model{ARCHIVE_SUFFIX}.index.json",
    f"pytorch_model.bin{ARCHIVE_SUFFIX}",
)
QUANTIZATION_CONFIG = {"quant_method": "tersor"}
# In quantization_config: shapes of modules that config.json cannot say otherwise (structured/heads.py), and "weights"
# of a checkpoint that is no archive.
MODULES_KEY = "tersor_modules"
PLAIN_WEIGHTS = "plain"
_WEIGHT_SUFFIX = ".safetensors"
_MAX_ADAPTED_BYTES = 16 << 20  # a config or shard index beyond this is packed as plain bytes
_MAX_NAME_BYTES = 255


def archive_name(relative: str, taken: Collection[str] = ()) -> str:
    """Return the archive file's path for an original file's: model.safetensors -> model.tersor.safetensors.

    taken: paths in use, lower case; `x` and `x.safetensors` would both become x.tersor.safetensors, so the
        later one gets a number. An original name too long for the ending is cut.
    """
    folder, _, name = relative.rpartition("/")
    stem = name.removesuffix(_WEIGHT_SUFFIX) or name
    prefix = f"{folder}/" if folder else ""
    stem = stem.encode()[: _MAX_NAME_BYTES - len(ARCHIVE_SUFFIX) - 8].decode(errors="ignore")
    candidate, number = f"{prefix}{stem}{ARCHIVE_SUFFIX}", 1
    while candidate.lower() in taken:
        candidate, number = f"{prefix}{stem}-{number}{ARCHIVE_SUFFIX}", number + 1
    return candidate


def stem_of(name: str) -> str:
    """Return an archive file's path without its ending."""
    return name.removesuffix(ARCHIVE_SUFFIX)


def nearest_first(relative: str) -> tuple[int, str]:
    """Sort key: files near the top of the folder first, then by path."""
    return relative.count("/"), relative


def find_archive_files(path: Path) -> dict[str, Path]:
    """Return {relative path: path} of the archive files in a folder, or of the one file given.

    The order is that in which they get to name tensors: nearest the top first.
    Raises: UsageError if there is none.
    """
    if not path.is_dir():
        return {path.name: path}
    found: dict[str, Path] = {}
    for parent, folders, names in os.walk(path):
        folders.sort()
        for name in names:
            if name.endswith(ARCHIVE_SUFFIX):
                full = Path(parent, name)
                found[full.relative_to(path).as_posix()] = full
    if not found:
        raise UsageError(
            f"{path}: no *{ARCHIVE_SUFFIX} file in this folder; give what `tersor pack` or `tersor compress` wrote"
        )
    return {relative: found[relative] for relative in sorted(found, key=nearest_first)}


def loaded_name(folder: str, outputs: Collection[str]) -> str | None:
    """Return which of an archive's files in `folder` a loader should open first, None if there is none.

    outputs: paths of the archive files and of the shard index.
    """
    prefix = f"{folder}/" if folder else ""
    return next((name for name in LOADED_NAMES if prefix + name in outputs), None)


def adapt_config(original: bytes, weights: str | None = None) -> bytes | None:
    """Return config.json with `quantization_config` added, or None if the original is no JSON object.

    weights: what a loader opens first, said if it is not model.tersor.safetensors. transformers tells a model's class
    that the configuration is loaded, but not always from where.
    A `quantization_config` that is there already (a checkpoint quantized by others) is kept under "original"; of one
    that is ours (a smaller model, see `reduced_quantization_config`) its module shapes stay.
    """
    config = _json_object(original)
    if config is None:
        return None
    added: dict[str, object] = dict(QUANTIZATION_CONFIG)
    if weights not in (None, LOADED_NAMES[0]):
        added["weights"] = weights
    earlier = config.get("quantization_config")
    if isinstance(earlier, dict) and earlier.get("quant_method") == added["quant_method"]:
        added.update({name: earlier[name] for name in earlier if name == MODULES_KEY})
    elif "quantization_config" in config:
        added["original"] = earlier
    return _to_json({**config, "quantization_config": added})


def reduced_quantization_config(modules: Mapping[str, Mapping[str, int]]) -> dict[str, object]:
    """Return config.json's `quantization_config` for a plain checkpoint whose attention layers it cannot describe.

    modules: heads by attention layer; the loader that `import tersor` registers builds them so.
    """
    plain = {name: dict(module) for name, module in modules.items()}
    return {**QUANTIZATION_CONFIG, "weights": PLAIN_WEIGHTS, MODULES_KEY: plain}


def adapt_shard_index(original: bytes) -> bytes | None:
    """Return the Hub's shard index with the shard names changed, or None if it is not one."""
    index = _json_object(original)
    shards = index.get("weight_map") if index else None
    if not isinstance(shards, dict) or not all(isinstance(name, str) for name in shards.values()):
        return None
    renamed = {tensor: archive_name(name) for tensor, name in shards.items()}
    return _to_json({**(index or {}), "weight_map": renamed})


def shard_index_name(relative: str) -> str:
    """Return where the changed shard index lies: model.tersor.safetensors.index.json beside the shards."""
    return str(PurePosixPath(relative).with_name(f"model{ARCHIVE_SUFFIX}.index.json"))


def _json_object(text: bytes) -> dict[str, object] | None:
    try:
        value = json.loads(text)
    except (ValueError, RecursionError):
        return None
    return value if isinstance(value, dict) else None


def _to_json(value: dict[str, object]) -> bytes:
    return (json.dumps(value, indent=2) + "\n").encode()


def add_side_file(
    source: Path, relative: str, output: Path, *, adapt: bool = False, outputs: Collection[str] = ()
) -> SideRecord | None:
    """Put a side file into the output folder and return its record.

    adapt: change a config.json or a shard index for the archive, the original bytes going into the record.
    outputs: paths of all files of the archive, for `loaded_name`.
    Returns None, with nothing written, if it should be changed and cannot be.
    """
    changed, place = None, relative
    data = b""
    if adapt:
        if source.stat().st_size > _MAX_ADAPTED_BYTES:
            return None
        data = source.read_bytes()
        is_config = PurePosixPath(relative).name == CONFIG_NAME
        weights = loaded_name(relative.rpartition("/")[0], outputs)
        changed = adapt_config(data, weights) if is_config else adapt_shard_index(data)
        place = relative if is_config else shard_index_name(relative)
        if changed is None:
            return None
    target = output / place
    target.parent.mkdir(parents=True, exist_ok=True)
    if changed is not None:
        target.write_bytes(changed)
        return SideRecord(relative, len(data), sha256(data).digest(), data)
    n_bytes, digest = copy_with_digest(source, target)
    return SideRecord(relative, n_bytes, digest, None)


def copy_with_digest(source: Path, target: Path) -> tuple[int, bytes]:
    """Copy a file's bytes; return their number and SHA-256."""
    digest, n_bytes = sha256(), 0
    with open(source, "rb") as reader, open(target, "xb") as writer:
        while chunk := reader.read(1 << 20):
            digest.update(chunk)
            writer.write(chunk)
            n_bytes += len(chunk)
    return n_bytes, digest.digest()
