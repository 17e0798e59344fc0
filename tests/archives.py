"""Small archives and checkpoints for the tests of the archive, of packing and of damage."""

from __future__ import annotations

from pathlib import Path

import ml_dtypes
import numpy as np

from tersor.archive.index import FolderRecord
from tersor.archive.writer import ArchiveWriter
from tersor.layouts import Alias, Context, Dense, Grid, LowRank, Sparse
from tersor.layouts.file_tables import FileCounts
from tersor.types import DTYPES, TensorSpec

Value = Dense | Grid | Alias | Sparse | LowRank


def random_array(spec: TensorSpec, seed: int = 0) -> np.ndarray:
    """An array for a spec: weights for floats, random bits for the rest."""
    generator = np.random.default_rng(seed)
    if spec.dtype in ("F16", "BF16", "F32", "F64"):
        return np.asarray(generator.standard_normal(spec.shape) * 0.05).astype(spec.numpy_dtype)
    n_bytes = int(np.prod(spec.numpy_shape, dtype=np.int64)) * spec.numpy_dtype.itemsize
    bits = generator.integers(0, 2 if spec.dtype == "BOOL" else 256, n_bytes, dtype=np.uint8)
    return bits.view(spec.numpy_dtype).reshape(spec.numpy_shape)


def random_grid(
    rows: int, columns: int, *, seed: int = 0, transposed: bool = False, group_size: int = 0
) -> Grid:
    """A grid of small codes with steps that differ by row and column."""
    generator = np.random.default_rng(seed)
    groups = (rows, columns // group_size) if group_size else (0, 0)
    return Grid(
        codes=np.round(generator.standard_normal((rows, columns)) * 2).astype(np.int32),
        row_exponents=generator.integers(-24, -18, rows).astype(np.int16),
        column_exponents=generator.integers(-3, 3, columns).astype(np.int16),
        row_classes=np.full(rows, 4, np.int16),
        column_classes=np.zeros(columns, np.int16),
        transposed=transposed,
        group_size=group_size,
        group_scales=generator.random(groups).astype(np.float32) if group_size else None,
        zero_points=generator.integers(-2, 3, groups).astype(np.int32) if group_size else None,
    )


def context_for(tensors: dict[TensorSpec, Value]) -> Context:
    """The tables that these tensors need."""
    counts = FileCounts()
    for spec, value in tensors.items():
        counts.add(spec, value)
    return Context(table_sets=counts.make("balanced"))


def write_archive(
    path: Path, tensors: dict[TensorSpec, Value], *, threads: int = 1, folder: FolderRecord | None = None
) -> int:
    """Write one archive file; return the CRC of its index."""
    with ArchiveWriter(path, context_for(tensors), producer="tests", threads=threads) as writer:
        for spec, value in tensors.items():
            writer.add(spec, value)
        return writer.finish([], {"seed": 0}, folder)


def every_dtype() -> dict[TensorSpec, Value]:
    """One dense tensor of each dtype, and shapes that are easy to get wrong."""
    specs = [TensorSpec(f"dtype.{name}", name, (4, 6)) for name in DTYPES]
    specs += [TensorSpec(f"scalar.{name}", name, ()) for name in ("F32", "BF16", "I64")]
    specs += [
        TensorSpec("empty.first", "F32", (0, 3)),
        TensorSpec("empty.last", "BF16", (3, 0)),
        TensorSpec("vector", "F16", (77,)),
        TensorSpec("rank.5", "F32", (2, 1, 3, 2, 5)),
        TensorSpec('wie heißt «du»? \N{SNOWMAN}\n"quoted" \\', "U8", (9,)),
        TensorSpec("shape.is.stream", "U8", (3,)),
    ]
    return {spec: Dense(random_array(spec, seed)) for seed, spec in enumerate(specs)}


def small_lossy() -> dict[TensorSpec, Value]:
    """Grids, a dense vector and an alias: what `compress` writes, in about 2 KB."""
    return {
        TensorSpec("embed", "F32", (12, 8)): random_grid(12, 8),
        TensorSpec("conv1d", "BF16", (8, 6)): random_grid(6, 8, seed=1, transposed=True),
        TensorSpec("groups", "F16", (4, 8)): random_grid(4, 8, seed=2, group_size=4),
        TensorSpec("norm", "F32", (8,)): Dense(random_array(TensorSpec("norm", "F32", (8,)))),
        TensorSpec("head", "F32", (12, 8)): Alias("embed"),
    }


def bf16(values: np.ndarray) -> np.ndarray:
    return values.astype(ml_dtypes.bfloat16)
