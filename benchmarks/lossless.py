"""Lossless: ratio and speed on MiniLM in float types and smaller ones, memory, a folder restored byte for byte.

Use: python benchmarks/lossless.py [--plots FOLDER]      about 20 minutes; --plots: where to draw ratio against speed
The figures are those of `tersor bench lossless`, which says what they mean. TERSOR_PEER_PYTHON: an interpreter in whose
environment peers are looked for that are not installed beside tersor. Ratios have bounds, speeds are information.
"""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import ml_dtypes
import numpy as np
from safetensors import safe_open
from safetensors.numpy import save_file

from common import MIB, TERSOR, Table, arguments, finish, minilm, run, tersor, tree, work_folder
from small_types import QUANTIZERS, quantized, smollm2, write_large, write_safetensors
from tersor import pack, unpack, verify
from tersor.archive.file import ArchiveFile
from tersor.bench.report import notes, table_cells

N_RUNS = 5
BOUNDS = {
    ("bf16", "fast"): 0.6630,
    ("bf16", "balanced"): 0.6575,
    ("bf16", "max"): 0.6540,
    ("fp16", "balanced"): 0.8447,
    ("fp16", "max"): 0.8412,
    ("fp32", "balanced"): 0.8190,
    ("fp32", "max"): 0.8128,
}
# At least so many times as fast as zipnn with its pages reused; two threads against one; ratio of a GGUF file.
ENCODE_BOUNDS = {"fast": 3.0, "balanced": 1.3, "max": 0.35}
THREADS_BOUND = 1.8
GGUF_BOUND = 0.88
MEMORY_BOUND_MIB = 64
FLOATS = {"bf16": np.dtype(ml_dtypes.bfloat16), "fp16": np.dtype(np.float16)}


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


def bench(*words: str | Path) -> dict[str, Any]:
    """Run `tersor bench lossless WORDS --json`; the benchmark ends here if it fails."""
    result: dict[str, Any] = run(TERSOR, "bench", "lossless", *words, "--json").json()
    return result


def measured(dtype: str, plots: Path | None) -> dict[str, Any]:
    """Measure everything that is installed on MiniLM in one float type."""
    picture = [] if plots is None else ["--plot", plots / f"lossless-{dtype}.svg"]
    return bench("--dtype", dtype, "--runs", str(N_RUNS), *picture)


def ratio_table(dtype: str, result: dict[str, Any]) -> Table:
    heads, cells = table_cells(result)
    table = Table(f"MiniLM as {dtype}", " | ".join([*heads, "at most", "ok"]), notes=notes(result))
    for row, line in zip(result["rows"], cells, strict=True):
        bound = BOUNDS.get((dtype, row["level"]))
        miss = f"{dtype} {row['coder']}: {row['ratio']:.5f}, at most {bound}"
        ok = "" if bound is None else table.check(row["ratio"] <= bound, miss)
        table.add(*line, bound or "", ok)
    return table


def encode_table(result: dict[str, Any]) -> Table:
    """Encoding from memory to memory beside zipnn, and with two threads, of the best instruction set."""
    table = Table(
        "Encoding MiniLM as BF16",
        "level | isa | GB/s | of zipnn, pages reused | at least | ok | two threads | at least | ok",
    )
    rows = {(row["coder"], row["isa"], row["threads"]): row["encode_gb_s"] for row in result["rows"]}
    isa = next(row["isa"] for row in result["rows"] if row["level"])
    zipnn = rows.get(("zipnn, pages reused", None, 1))
    for level, bound in ENCODE_BOUNDS.items():
        one, two = (rows.get((f"tersor {level}", isa, threads)) for threads in (1, 2))
        cells: list[object] = [level, isa, f"{one:.2f}"]
        for other, least in ((zipnn, bound), (two and one * one / two, THREADS_BOUND)):
            share = one / other if other else None
            miss = f"{level}: encodes at {share} of what it is compared with, at least {least}"
            ok = "" if share is None else table.check(share >= least, miss)
            cells += ["" if share is None else f"{share:.2f}", least, ok]
        table.add(*cells)
    return table


def small_types_table(work: Path) -> Table:
    """Whole files of small types beside every peer, in one run for each file."""
    table = Table(
        "Small types: ratio of the whole file", "file | bytes | tersor balanced | tersor max | best peer | ok"
    )
    tensors = tensors_of(minilm() / "model.safetensors")
    files = {
        f"MiniLM {name}": write_safetensors(work / f"{name}.safetensors", quantized(tensors, quantize))
        for name, quantize in QUANTIZERS.items()
    }
    gguf = smollm2()
    if gguf is not None:
        files["SmolLM2-135M Q4_1 (GGUF)"] = gguf
    for name, path in files.items():
        rows = bench(path, "--runs", "1", "--threads", "1")["rows"]
        own = {row["level"]: row["ratio"] for row in rows if row["level"]}
        peers = {row["coder"]: row["ratio"] for row in rows if not row["level"] and row["coder"] != "memcpy"}
        best = min(peers, key=lambda peer: peers[peer], default="none")
        bound = min(peers.get(best, 1.0), GGUF_BOUND if path == gguf else 1.0)
        ok = table.check(own["balanced"] < bound, f"{name}: {own['balanced']:.5f}, best peer {bound:.5f}")
        levels = (f"{own[level]:.5f}" for level in ("balanced", "max"))
        table.add(name, f"{path.stat().st_size:,}", *levels, f"{bound:.5f} ({best})", ok)
    return table


def memory_table(work: Path) -> Table:
    """Peak memory of pack and unpack of a file of 1 GB above that of doing the same to one of 5 kB."""
    table = Table("Memory: a file of 1 GB", "level | command | peak MiB | above a small file | at most | ok")
    small, large = work / "small.bin", write_large(work / "large.safetensors")
    small.write_bytes(b"small" * 1000)
    for level in ENCODE_BOUNDS:
        peaks: dict[str, list[int]] = {"pack": [], "unpack": []}
        for path in (small, large):
            packed, back = work / f"{path.stem}-{level}", work / f"{path.name}.back"
            peaks["pack"].append(tersor("pack", path, "-o", packed, "--level", level, "-q").peak_rss_bytes)
            peaks["unpack"].append(tersor("unpack", packed, "-o", back, "-q").peak_rss_bytes)
            table.check(back.read_bytes() == path.read_bytes(), f"{path.name} is not restored by {level}")
            shutil.rmtree(packed)
            back.unlink()
        for command, (before, peak) in peaks.items():
            above = (peak - before) / MIB
            miss = f"{command} at level {level} takes {above:.0f} MiB, at most {MEMORY_BOUND_MIB}"
            ok = table.check(above <= MEMORY_BOUND_MIB, miss)
            table.add(level, command, f"{peak / MIB:.0f}", f"{above:.0f}", MEMORY_BOUND_MIB, ok)
    large.unlink()
    return table


def write_folder(folder: Path) -> None:
    """MiniLM, its casts, shards, and what else lies about in folders."""
    shutil.copytree(minilm(), folder / "minilm")
    write_cast(folder / "bf16", "bf16")
    write_cast(folder / "fp16", "fp16")
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
    pack(source, packed)
    verified = verify(packed, against=source)
    table.check(verified["ok"], f"verify: {verified['problems']}")
    unpack(packed, back)
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
    n_original = path.stat().st_size
    if not n_original:
        return [f"{n_bytes} B" if n_bytes else "copied", "", ""]
    words = ("--runs", "1", "--threads", "1", "--peer", "zstd", "--peer", "zipnn")
    found = {row["coder"]: f"{row['ratio']:.4f}" for row in bench(path, *words)["rows"]}
    own = f"{n_bytes / n_original:.4f}" if n_bytes else "copied"
    return [own, found["zstd, level 3"], found.get("zipnn", "-")]


def main() -> None:
    options = arguments(__doc__, plots="folder for pictures of ratio against speed (default: none)")
    plots = Path(options.plots) if options.plots else None
    results = {dtype: measured(dtype, plots) for dtype in ("bf16", "fp16", "fp32")}
    tables = [ratio_table(dtype, result) for dtype, result in results.items()]
    tables.append(encode_table(results["bf16"]))
    with work_folder(options.work) as work:
        tables += [small_types_table(work), memory_table(work), folder_table(work)]
    finish(*tables)


if __name__ == "__main__":
    main()
