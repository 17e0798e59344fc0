"""Plain and trellis grids in one file, as `compress` writes them: small tensors plain, the others trellis."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from archives import write_archive
from reference_reader import read_archive
from tersor.archive.reader import open_archive
from tersor.layouts import Grid
from tersor.quant import QUANTIZERS, QuantConfig, TensorStatistics
from tersor.types import TensorSpec


def grid_of(method: str, rows: int, columns: int, **options: bool) -> Grid:
    weight = np.random.RandomState(rows).randn(rows, columns).astype(np.float32)
    return QUANTIZERS.get(method)(weight, QuantConfig(0.3, options=options), TensorStatistics())


GRIDS = {
    "bias": grid_of("rtn", 1, 70),
    "tall": grid_of("two_sided", 600, 70),
    "wide": grid_of("two_sided", 300, 520),
    "plain": grid_of("two_sided", 65, 40, trellis=False),
    "last": grid_of("rtn", 1, 33),
}


def test_both_readers_read_plain_and_trellis_grids_of_one_file(tmp_path: Path) -> None:
    path = tmp_path / "model.tersor.safetensors"
    write_archive(path, {TensorSpec(name, "F32", grid.shape): grid for name, grid in GRIDS.items()})
    reference = read_archive(path).tensors
    with open_archive(path) as archive:
        for name, grid in GRIDS.items():
            expected = grid.to_dense()
            assert np.array_equal(archive[name], expected), name
            assert np.array_equal(reference[name], expected), name


def test_a_range_of_rows_within_runs_decodes(tmp_path: Path) -> None:
    path = tmp_path / "model.tersor.safetensors"
    write_archive(path, {TensorSpec("tall", "F32", (600, 70)): GRIDS["tall"]})
    with open_archive(path) as archive:
        rows = archive.read("tall", rows=slice(250, 530))
    assert np.array_equal(rows, GRIDS["tall"].to_dense()[250:530])
