"""`inspect(path)`: what an archive holds and what each tensor costs, from headers and indexes, nothing decoded."""

from __future__ import annotations

import time
from collections.abc import Sequence
from math import prod
from os import PathLike
from pathlib import Path
from typing import Any

from tersor.archive.file import ALIAS_LAYOUT, GRID_LAYOUT, ArchiveFile
from tersor.archive.index import unpack_any
from tersor.archive.reader import open_archive
from tersor.archive.urls import is_url
from tersor.errors import CorruptError, NewerFormatError
from tersor.history import read_history
from tersor.layouts.delta import DELTA_LAYOUT, DeltaMeta
from tersor.layouts.delta_words import KIND_NAMES
from tersor.layouts.low_rank import LOW_RANK_LAYOUT, RIGHT
from tersor.layouts.sparse_mask import MASK_NAMES
from tersor.layouts.sparse_values import SPARSE_LAYOUT
from tersor.process import peak_rss_bytes
from tersor.sources.gguf_types import ELEMENTS_OF_BLOCK

GGUF = "gguf"
_PEEKED_BLOCKS = 16
_OTHER_FORMS = {3: "rans-f32-narrow", 4: "fields", 5: "rans-codes", 6: "differences"}
_FLOAT_UNITS = {0: "bf16", 1: "f16", 2: "f32"}


def inspect(path: str | PathLike[str]) -> dict[str, Any]:
    """Describe an archive folder, file or URL as JSON-like data.

    Returns input: path (None: not recorded), n_bytes of the original files that the archive files hold (lossy: of
        the plain tensors), n_params (tied ones once, plain files none, GGUF blocks what they stand for); output:
        path, n_bytes of the archive files, ratio = output / input, bits_per_weight (None without parameters);
        tensors: name, shape, dtype, layout, codec ("" behind a URL, where a look costs a request), n_bytes of the
        stream, bits_per_weight, error (None: not known here); a low-rank tensor's bytes are those of its parts, which
        are not listed; lossless; seconds and peak_rss_bytes of this call;
        recipe, version (what wrote it), provenance; base of an archive of deltas: path (from the archive on),
        content hash; else None; history: what was done to the folder and how it measured, in order ([] behind a URL).
    Raises: UsageError, CorruptError, NewerFormatError.
    """
    started = time.monotonic()
    with open_archive(path) as archive:
        tensors = [row for file in archive.files for row in _tensors(file)]
        n_params = sum(_n_params(file) for file in archive.files)
        n_input_bytes = sum(_n_original_bytes(file) for file in archive.files)
        n_output_bytes = sum(file.ranges.n_bytes for file in archive.files)
        provenance = archive.provenance
        return {
            "input": {"path": provenance.get("source"), "n_bytes": n_input_bytes, "n_params": n_params},
            "output": {"path": str(archive.path), **sizes(n_output_bytes, n_input_bytes, n_params)},
            "tensors": tensors,
            "lossless": archive.folder.lossless if archive.folder else None,
            "seconds": time.monotonic() - started,
            "peak_rss_bytes": peak_rss_bytes(),
            "recipe": provenance.get("recipe"),
            "version": (archive.primary or archive.files[0]).index.producer,
            "provenance": provenance,
            "base": _base(archive.files),
            "history": _history(path),
        }


def sizes(n_output_bytes: int, n_input_bytes: int, n_params: int) -> dict[str, Any]:
    """Return n_bytes, ratio (1.0 for an empty input) and bits_per_weight of an output."""
    return {
        "n_bytes": n_output_bytes,
        "ratio": n_output_bytes / n_input_bytes if n_input_bytes else 1.0,
        "bits_per_weight": 8 * n_output_bytes / n_params if n_params else None,
    }


def _history(path: str | PathLike[str]) -> list[dict[str, Any]]:
    """The entries beside the weights of a folder on this machine."""
    return [] if is_url(path) or not Path(path).is_dir() else read_history(Path(path))


def _base(files: list[ArchiveFile]) -> dict[str, str] | None:
    record = next((file.index.base for file in files if file.index.base is not None), None)
    return None if record is None else {"path": record.hint, "blake3": record.content.hex()}


def _n_original_bytes(file: ArchiveFile) -> int:
    if file.index.files:
        return sum(record.n_bytes for record in file.index.files)
    return sum(spec.n_bytes for number, spec in file.specs.items() if number not in file.parts)


def _n_params(file: ArchiveFile) -> int:
    plain = {record.segments[0] for record in file.index.files if record.is_plain}
    has_blocks = _has_gguf_blocks(file)
    return sum(
        _n_elements(spec.dtype, spec.shape, has_blocks)
        for number, spec in file.specs.items()
        if number not in plain and number not in file.parts and file.target(number) == number
    )


def _has_gguf_blocks(file: ArchiveFile) -> bool:
    """Whether U8 matrices hold the blocks of a GGUF file, as its `pack` says."""
    provenance = unpack_any(file.index.provenance, "provenance")
    return isinstance(provenance, dict) and provenance.get("kind") == GGUF


def _n_elements(dtype: str, shape: Sequence[int], has_blocks: bool) -> int:
    """Elements of a tensor; of one of GGUF blocks (blocks, bytes of a block) those that the blocks stand for."""
    if has_blocks and dtype == "U8" and len(shape) == 2 and shape[1] in ELEMENTS_OF_BLOCK:
        return shape[0] * ELEMENTS_OF_BLOCK[shape[1]]
    return prod(shape)


def _tensors(file: ArchiveFile) -> list[dict[str, Any]]:
    rows = []
    has_blocks = _has_gguf_blocks(file)
    for number, (record, stream) in enumerate(zip(file.index.tensors, file.streams, strict=True)):
        if number in file.parts:
            continue
        n_bytes = _n_stream_bytes(file, number)
        n_elements = _n_elements(record.dtype, record.shape, has_blocks)
        rows.append(
            {
                "name": stream.name,
                "shape": list(record.shape),
                "dtype": record.dtype,
                "layout": file.layout_name(record),
                "codec": codec_summary(file, number),
                "n_bytes": n_bytes,
                "bits_per_weight": 8 * n_bytes / n_elements if n_elements else None,
                "error": None,
            }
        )
    return rows


def _n_stream_bytes(file: ArchiveFile, number: int) -> int:
    """Bytes of a tensor's stream; of a low-rank tensor those of its parts."""
    meta = file.low_rank.get(number)
    streams = [file.streams[part] for part in (meta.parts().values() if meta else [number])]
    return sum(stream.end - stream.begin for stream in streams)


def codec_summary(file: ArchiveFile, number: int) -> str:
    """Return what the first blocks of a tensor are coded with, such as "rans-bf16", "planes4" or "zstd"; "" if none.

    Of remote files only what the index says.
    """
    layout = file.layout_name(file.index.tensors[number])
    if layout == ALIAS_LAYOUT:
        return f"= {file.streams[file.target(number)].name}"
    if layout == GRID_LAYOUT:
        return "rans"
    if layout == LOW_RANK_LAYOUT:
        return _low_rank_summary(file, number)
    if layout == DELTA_LAYOUT:
        return _delta_summary(file, number)
    if file.ranges.is_remote:
        return ""
    try:
        tensor = file.tensor(number)
    except NewerFormatError:
        return "unknown"
    peeked = range(min(len(tensor.table), _PEEKED_BLOCKS))
    if layout == SPARSE_LAYOUT:
        kinds = {MASK_NAMES.get(tensor.payload(block)[0], "unknown") for block in peeked}
        return "+".join(sorted(kinds))
    found = {_dense_form(bytes(tensor.payload(block)[:2]), file.index.codecs) for block in peeked}
    file.ranges.release(0, file.ranges.n_bytes)  # a look at two bytes maps 64 KiB: 60 MB for a file of 1 GB
    return "+".join(sorted(found))


def _low_rank_summary(file: ArchiveFile, number: int) -> str:
    """Say what a tensor is the product of, such as "rank 64: grid/1 x grid/1 + sparse/1"."""
    parts = file.low_rank[number].parts()
    layouts = [file.layout_name(file.index.tensors[part]) for part in parts.values()]
    rank = file.index.tensors[parts[RIGHT]].shape[0]
    return f"rank {rank}: {layouts[0]} x {layouts[1]}" + "".join(f" + {name}" for name in layouts[2:])


def _delta_summary(file: ArchiveFile, number: int) -> str:
    """Say how a tensor follows from its base, such as "difference of bert.pooler.weight"."""
    try:
        meta = DeltaMeta.parse(unpack_any(file.index.tensors[number].meta, "meta"))
    except (CorruptError, NewerFormatError) as exc:
        return "damaged" if isinstance(exc, CorruptError) else "unknown"
    name = file.streams[number].name if meta.base_name is None else meta.base_name
    return f"{KIND_NAMES[meta.kind]} of {name}"


def _dense_form(start: bytes, codecs: list[str]) -> str:
    """Name the form of a dense block from its first two bytes (docs/format.md 4.1)."""
    if len(start) < 2:
        return "damaged"
    form, detail = start
    if form == 0 and detail < len(codecs):
        return codecs[detail]
    if form == 1:
        return f"planes{detail}"
    if form == 2 and detail in _FLOAT_UNITS:
        return f"rans-{_FLOAT_UNITS[detail]}"
    return _OTHER_FORMS.get(form, "unknown")
