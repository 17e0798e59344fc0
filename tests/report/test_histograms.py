"""Histograms count the codes of an archive, and say what they cost."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

import tersor
from archives import random_grid
from report_samples import small_model, write_model
from tersor.layouts import Grid
from tersor.report import histograms
from tersor.report.histograms import CodeHistogram, code_histograms


@pytest.fixture
def archive(tmp_path: Path) -> Path:
    return write_model(tmp_path / "small")


def histograms_of(path: Path, limit: int = 12) -> list[CodeHistogram]:
    rows = tersor.inspect(path)["tensors"]
    with tersor.open(path) as archive:
        return code_histograms(archive, rows, limit)


def test_counts_are_those_of_the_codes(archive: Path) -> None:
    grids = {spec.name: value for spec, value in small_model().items() if isinstance(value, Grid)}
    found = {histogram.role: histogram for histogram in histograms_of(archive)}
    codes = np.concatenate(
        [grid.codes.ravel() for name, grid in grids.items() if name.endswith("query.weight")]
    )
    histogram = found["encoder.layer.#.attention.self.query.weight"]
    expected = np.bincount(codes - codes.min())
    assert histogram.first_code == codes.min()
    assert np.array_equal(histogram.counts, expected)
    assert histogram.n_codes == histogram.n_all == codes.size
    assert histogram.n_tensors == 3
    shares = expected[expected > 0] / codes.size
    assert histogram.entropy == pytest.approx(-(shares * np.log2(shares)).sum())
    assert histogram.zeros == pytest.approx((codes == 0).mean())


def test_knowing_the_class_never_costs_more_and_the_file_never_less(archive: Path) -> None:
    for histogram in histograms_of(archive):
        assert histogram.by_class <= histogram.entropy <= histogram.fit.bits + 1e-9
        assert histogram.stored > histogram.by_class


def test_largest_roles_come_first_and_no_more_than_asked_for(archive: Path) -> None:
    found = histograms_of(archive, 2)
    assert len(found) == 2
    assert found[0].n_all >= found[1].n_all
    assert "embeddings.norm.weight" not in {histogram.role for histogram in histograms_of(archive)}


def test_of_many_codes_blocks_from_all_over_are_counted(
    archive: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(histograms, "MAX_CODES", 1024)
    found = {histogram.role: histogram for histogram in histograms_of(archive)}
    role = found["encoder.layer.#.attention.self.query.weight"]
    assert role.n_codes == 1024 < role.n_all


def test_grids_of_a_dense_tensor_are_refused(archive: Path) -> None:
    with tersor.open(archive) as opened, pytest.raises(tersor.errors.UsageError, match="is no grid"):
        next(opened.tensor("embeddings.norm.weight").grids())


def test_grids_are_the_blocks_of_the_tensor(archive: Path) -> None:
    with tersor.open(archive) as opened:
        codes = np.concatenate([grid.codes for grid in opened.tensor("embeddings.word.weight").grids()])
    assert np.array_equal(codes, random_grid(96, 32, seed=0).codes)
