"""A checkpoint as a stream of tensors: which files, which tensors, and their bytes, memory-mapped.

`open_source(path)` opens one file for its tensors, `open_exact(path)` to restore it byte for byte later (a torch
file differs: torch reads its tensors, their places in the file are found without it);
`tersor.sources.folder.scan(path)` lists a whole checkpoint, its `open_weights()` opens a model's tensors.
To add a kind of file: one module with a `Source` class (most are an
`extents.ExtentFile`), one line in `SOURCES`.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import cast

from tersor.errors import CorruptError, NewerFormatError
from tersor.registry import Registry
from tersor.sources.base import ExactSource, Source
from tersor.sources.mapped import file_size, read_head

SOURCES: Registry[type[Source]] = Registry(
    "source",
    {
        "safetensors": "tersor.sources.safetensors:SafetensorsFile",
        "torch": "tersor.sources.torch_pickle:TorchFile",
        "torch-zip": "tersor.sources.torch_zip:TorchZipFile",
        "torch-stream": "tersor.sources.torch_stream:TorchStreamFile",
        "npz": "tersor.sources.npz:NpzFile",
        "npy": "tersor.sources.npz:NpyFile",
        "gguf": "tersor.sources.gguf:GgufFile",
        "onnx": "tersor.sources.onnx:OnnxFile",
        "plain": "tersor.sources.plain:PlainFile",
    },
)

__all__ = ["SOURCES", "ExactSource", "Source", "open_exact", "open_source", "source_kind"]


def source_kind(path: Path | str) -> str:
    """Return the name in `SOURCES` of the kind of file that `path` claims to be; "plain" if no other.

    Raises: UsageError if the file cannot be opened.
    """
    path = Path(path)
    n_bytes = file_size(path)
    head = read_head(path)
    claims = (name for name in SOURCES.names() if name != "plain")
    return next((name for name in claims if SOURCES.get(name).matches(path, head, n_bytes)), "plain")


def open_source(path: Path | str) -> Source:
    """Return the file as a source of the kind that its name and first bytes claim.

    Raises: see `Source`; a file that breaks the rules of the kind it claims to be is an error.
    """
    return SOURCES.get(source_kind(path))(Path(path))


def open_exact(path: Path | str, refused: Callable[[str], object] | None = None) -> ExactSource:
    """Return the file as a source whose segments restore it byte for byte, for packing without loss.

    A file that breaks the rules of the kind it claims to be is opened as plain bytes, and `refused` is told why.
    Raises: UsageError if the file cannot be opened.
    """
    path = Path(path)
    n_bytes, head = file_size(path), read_head(path)
    for kind in (SOURCES.get(name) for name in SOURCES.names() if name != "plain"):
        if kind.exact and kind.matches(path, head, n_bytes):
            try:
                return cast(ExactSource, kind(path))
            except (CorruptError, NewerFormatError) as exc:
                if refused is not None:
                    refused(str(exc))
                break
    return cast(ExactSource, SOURCES.get("plain")(path))
