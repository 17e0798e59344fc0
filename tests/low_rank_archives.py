"""Archives of tiny models whose matrices are stored as factors."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np

from archives import Value, context_for, random_grid
from tersor.archive.folder import add_side_file
from tersor.archive.index import ArchiveRecord, FolderRecord
from tersor.archive.writer import ArchiveWriter
from tersor.layouts import Alias, Dense, LowRank
from tersor.lowrank import cast_low_rank
from tersor.quant import TensorStatistics
from tersor.sources.safetensors import SafetensorsFile
from tersor.types import TensorSpec

FILE = "model.tersor.safetensors"


def floats(*shape: int, seed: int = 0) -> np.ndarray:
    """Normal float32 values of scale .1."""
    return (np.random.default_rng(seed).standard_normal(shape) * 0.1).astype(np.float32)


def small_low_rank(rank: int = 3, *, residual: bool = False, pivots: bool = False) -> LowRank:
    """A matrix of 12 x 20 as float32 factors."""
    missed = Dense(floats(12, 20, seed=3)) if residual else None
    rows = np.arange(rank, dtype=np.int64) * 3 if pivots else None
    left = floats(12 - rank if pivots else 12, rank, seed=1)
    return LowRank(Dense(left), Dense(floats(rank, 20, seed=2)), missed, pivots=rows)


def low_rank_values() -> dict[TensorSpec, Value]:
    """Factors with and without pivots, a residual, a transposed tensor and a tie, in about 2 KB."""
    transposed = replace(small_low_rank(pivots=True), right=random_grid(3, 20), transposed=True)
    return {
        TensorSpec("plain", "F32", (12, 20)): small_low_rank(residual=True),
        TensorSpec("pivots", "BF16", (12, 20)): small_low_rank(pivots=True),
        TensorSpec("conv1d", "F16", (20, 12)): transposed,
        TensorSpec("tied", "F32", (12, 20)): Alias("plain"),
    }


def low_rank_model(folder: Path, output: Path, *, rank: int = 4, residual: bool = False) -> Path:
    """Write an archive of a model folder; every matrix of a layer is factored, those of GPT-2's Conv1D transposed.

    Of a sharded folder each shard becomes an archive file.
    """
    output.mkdir()
    for file in folder.glob("*.json"):
        if file.name == "config.json":
            add_side_file(file, file.name, output, adapt=True, outputs=_weight_files(folder))
        elif file.name == "model.safetensors.index.json":
            text = file.read_text().replace(".safetensors", ".tersor.safetensors")
            (output / "model.tersor.safetensors.index.json").write_text(text)
        else:
            (output / file.name).write_bytes(file.read_bytes())
    records: list[ArchiveRecord] = []
    shards = sorted(folder.glob("*.safetensors"))
    for number, shard in enumerate(shards, 1):
        values: dict[TensorSpec, Value] = {}
        with SafetensorsFile(shard) as source:
            for spec in source.specs:
                values[spec] = _value(spec, np.array(source.read(spec.name)), rank, residual)
        name = shard.name.replace(".safetensors", ".tersor.safetensors")
        with ArchiveWriter(output / name, context_for(values)) as writer:
            for spec, value in values.items():
                writer.add(spec, value)
            is_primary = number == len(shards)
            crc = writer.finish(folder=FolderRecord(False, records, [], [], False) if is_primary else None)
        records.append(ArchiveRecord(name, crc))
    return output


def _weight_files(folder: Path) -> set[str]:
    names = {path.name for path in folder.glob("model*.safetensors*")}
    return {name.replace(".safetensors", ".tersor.safetensors") for name in names}


def _value(spec: TensorSpec, array: np.ndarray, rank: int, residual: bool) -> Dense | LowRank:
    if len(spec.shape) != 2 or "embed" in spec.name or ".wte" in spec.name or ".wpe" in spec.name:
        return Dense(array)
    is_conv1d = ".c_" in spec.name
    matrix = np.ascontiguousarray(array.T if is_conv1d else array)
    stored = cast_low_rank(
        matrix, method="svd", rank=rank, residual=residual, stats=TensorStatistics(), dtype="F32"
    )
    return replace(stored, transposed=is_conv1d)
