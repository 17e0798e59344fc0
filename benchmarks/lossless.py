"""Rows 5 and 6: ratio of `pack` on MiniLM in three float types, and a folder of all sorts restored byte for byte.

Use: python benchmarks/lossless.py      about 2 minutes; ZIPNN_PYTHON: an interpreter that has zipnn (zipnn_peer.py)
Ratios are archive file bytes over original file bytes, header, index and checksums counted; zstd and zipnn code the
same whole file. Speeds are information: GB of original bytes a second, one thread, medians of interleaved runs. pack
includes reading, hashing and writing files; decoding reads every tensor of the archive into arrays that exist.
"""

from __future__ import annotations

import json
import os
import shutil
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from statistics import median

import ml_dtypes
import numpy as np
import zstandard
from safetensors import safe_open
from safetensors.numpy import save_file

import tersor
from common import Table, arguments, finish, minilm, run, tree, work_folder
from tersor.archive.file import ArchiveFile

N_RUNS = 5
LEVELS = ("fast", "balanced")
BOUNDS = {("bfloat16", "fast"): 0.6635, ("bfloat16", "balanced"): 0.6580}
FLOATS = {
    "bfloat16": np.dtype(ml_dtypes.bfloat16),
    "float16": np.dtype(np.float16),
    "float32": np.dtype(np.float32),
}


def tensors_of(path: Path) -> dict[str, np.ndarray]:
    """Every tensor of a safetensors file."""
    with safe_open(path, "numpy") as file:
        return {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 (it is no mapping)


def write_cast(folder: Path, dtype: str) -> Path:
    """Copy MiniLM's folder with its weights cast to a float type; return it."""
    shutil.copytree(minilm(), folder, ignore=shutil.ignore_patterns("model.safetensors"))
    cast = {
        name: array.astype(FLOATS[dtype]) if array.dtype == np.float32 else array
        for name, array in tensors_of(minilm() / "model.safetensors").items()
    }
    save_file(cast, folder / "model.safetensors", metadata={"format": "pt"})
    return folder


def write_shards(folder: Path, source: Path, n_shards: int = 3) -> None:
    """Write a folder's weights as shards with their index, as save_pretrained does."""
    shutil.copytree(source, folder, ignore=shutil.ignore_patterns("model.safetensors"))
    tensors = tensors_of(source / "model.safetensors")
    weight_map = {}
    for number in range(n_shards):
        name = f"model-{number + 1:05d}-of-{n_shards:05d}.safetensors"
        part = dict(list(tensors.items())[number::n_shards])
        save_file(part, folder / name, metadata={"format": "pt"})
        weight_map |= dict.fromkeys(part, name)
    index = {"metadata": {"total_size": sum(a.nbytes for a in tensors.values())}, "weight_map": weight_map}
    (folder / "model.safetensors.index.json").write_text(json.dumps(index, indent=2, sort_keys=True) + "\n")


@dataclass(slots=True)
class Timings:
    """Seconds of each coder, in the order of the runs."""

    encode: list[float] = field(default_factory=list)
    decode: list[float] = field(default_factory=list)

    def cells(self, n_bytes: int) -> list[str]:
        return [
            f"{n_bytes / 1e9 / median(seconds):.2f}" if seconds else "-"
            for seconds in (self.encode, self.decode)
        ]


def timed(work: Callable[[], object]) -> float:
    started = time.monotonic()
    work()
    return time.monotonic() - started


def decode_all(archive: tersor.Archive, arrays: dict[str, np.ndarray]) -> None:
    for name, array in arrays.items():
        archive.read(name, out=array)


def time_tersor(path: Path, out: Path, level: str, timings: Timings) -> int:
    """One run of pack and of decoding; return the archive's bytes."""
    timings.encode.append(timed(partial(tersor.pack, path, out, level=level)))
    with tersor.open(out) as archive:
        arrays = {name: np.ones(spec.numpy_shape, spec.numpy_dtype) for name, spec in archive.specs.items()}
        timings.decode.append(timed(partial(decode_all, archive, arrays)))
    n_bytes = sum(file.stat().st_size for file in out.rglob("*.tersor.safetensors"))
    shutil.rmtree(out)
    return n_bytes


def time_zstd(data: bytes, timings: Timings) -> int:
    started = time.monotonic()
    packed = zstandard.ZstdCompressor(level=3).compress(data)
    timings.encode.append(time.monotonic() - started)
    timings.decode.append(timed(partial(zstandard.ZstdDecompressor().decompress, packed)))
    return len(packed)


def zipnn(path: Path, dtype: str, n_runs: int, timings: Timings | None = None) -> int | None:
    """Bytes that zipnn makes of a file; None if it is not installed or fails."""
    interpreter = os.environ.get("ZIPNN_PYTHON")
    if interpreter is None:
        return None
    done = run(interpreter, Path(__file__).with_name("zipnn_peer.py"), path, dtype, str(n_runs))
    if done.code:
        print(f"zipnn on {path.name}: {done.stderr.strip().splitlines()[-1]}", file=sys.stderr)
        return None
    result = json.loads(done.stdout.strip().splitlines()[-1])
    if timings is not None:
        timings.encode += result["encode_seconds"]
        timings.decode += result["decode_seconds"]
    return int(result["n_bytes"])


def ratio_table(work: Path) -> Table:
    columns = "MiniLM as | coder | file ratio | at most | encode GB/s | decode GB/s | ok"
    table = Table(f"Lossless, one file, one thread, medians of {N_RUNS}", columns)
    for dtype in FLOATS:
        path = write_cast(work / f"cast-{dtype}", dtype) / "model.safetensors"
        data = path.read_bytes()
        timings = {name: Timings() for name in (*LEVELS, "zstd -3", "zipnn")}
        sizes: dict[str, int | None] = {}
        for _ in range(N_RUNS):  # interleaved: a busy machine slows all alike
            for level in LEVELS:
                sizes[level] = time_tersor(path, work / "timed", level, timings[level])
            sizes["zstd -3"] = time_zstd(data, timings["zstd -3"])
            sizes["zipnn"] = zipnn(path, dtype, 1, timings["zipnn"])
        for name, n_bytes in sizes.items():
            add_ratio(table, dtype, name, n_bytes, len(data), timings[name])
    return table


def add_ratio(
    table: Table, dtype: str, name: str, n_bytes: int | None, n_original: int, timings: Timings
) -> None:
    coder = f"tersor {name}" if name in LEVELS else name
    if n_bytes is None:
        table.add(dtype, coder, "not installed", "", "-", "-", "")
        return
    ratio, bound = n_bytes / n_original, BOUNDS.get((dtype, name))
    ok = "" if bound is None else table.check(ratio <= bound, f"{dtype} {name}: {ratio:.5f}, at most {bound}")
    table.add(dtype, coder, f"{ratio:.5f}", bound or "", *timings.cells(n_original), ok)


def write_folder(folder: Path) -> None:
    """MiniLM, its casts, shards, and what else lies about in folders."""
    shutil.copytree(minilm(), folder / "minilm")
    write_cast(folder / "bf16", "bfloat16")
    write_cast(folder / "fp16", "float16")
    write_shards(folder / "shards", folder / "bf16")
    (folder / "empty.bin").write_bytes(b"")
    (folder / "noise.bin").write_bytes(np.random.default_rng(0).bytes(1 << 20))
    (folder / "text.txt").write_text("".join(f"Line {i}: the quick brown fox.\n" for i in range(20000)))
    nested = folder / "nested" / "deeper" / "still"
    nested.mkdir(parents=True)
    (nested / "weights.dat").write_bytes((folder / "fp16" / "model.safetensors").read_bytes()[1000:3_000_001])
    (folder / "nested" / "nothing here").mkdir()


def archive_sizes(packed: Path) -> dict[str, int]:
    """Bytes of the archive file of each original file that has one."""
    sizes = {}
    for path in packed.rglob("*.tersor.safetensors"):
        file = ArchiveFile.open(path)
        sizes |= {record.path: path.stat().st_size for record in file.index.files}
        file.close()
    return sizes


def folder_table(work: Path) -> Table:
    table = Table(
        "A folder of all sorts: pack, verify, unpack",
        "file | bytes | tersor balanced | zstd -3 | zipnn | restored",
    )
    source, packed, back = work / "folder", work / "packed", work / "back"
    write_folder(source)
    tersor.pack(source, packed)
    verified = tersor.verify(packed, against=source)
    table.check(verified["ok"], f"verify: {verified['problems']}")
    tersor.unpack(packed, back)
    before, after, sizes = tree(source), tree(back), archive_sizes(packed)
    table.check(list(before) == list(after), "unpack gives other names than the folder had")
    for name, digest in before.items():
        if digest == "folder":
            continue
        ok = table.check(after.get(name) == digest, f"{name} is not restored byte for byte")
        if name in sizes or "/" not in name:
            table.add(
                name, f"{(source / name).stat().st_size:,}", *ratios(source / name, sizes.get(name)), ok
            )
    copied = [name for name, digest in before.items() if digest != "folder" and name not in sizes]
    table.add(
        f"{len(copied)} small files that loaders look for by name",
        "",
        "copied",
        "",
        "",
        "yes" if not table.misses else "see above",
    )
    return table


def ratios(path: Path, n_bytes: int | None) -> list[str]:
    """Ratios of tersor, zstd -3 and zipnn on one file."""
    data = path.read_bytes()
    if not data:
        return [f"{n_bytes} B" if n_bytes else "copied", "", ""]
    peer = zipnn(path, _dtype_of(path), 1)
    return [
        f"{n_bytes / len(data):.4f}" if n_bytes else "copied",
        f"{len(zstandard.ZstdCompressor(level=3).compress(data)) / len(data):.4f}",
        f"{peer / len(data):.4f}" if peer else "-",
    ]


def _dtype_of(path: Path) -> str:
    """The float type that a file of `write_folder` holds, as zipnn has to be told."""
    if "minilm" in path.parts:
        return "float32"
    return "float16" if "fp16" in path.parts or path.suffix == ".dat" else "bfloat16"


def main() -> None:
    options = arguments(__doc__)
    with work_folder(options.work) as work:
        tables = ratio_table(work), folder_table(work)
    finish(*tables)


if __name__ == "__main__":
    main()
