"""What file is measured."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import save_file

from tersor.bench.sample import make_sample
from tersor.errors import UsageError
from tersor.sources import open_source


def test_file_is_measured_as_it_is(weights: Path, tmp_path: Path) -> None:
    sample = make_sample(weights, None, tmp_path / "unused")
    assert (sample.path, sample.dtype, sample.n_bytes) == (weights, "F32", weights.stat().st_size)


@pytest.mark.parametrize(
    ("name", "dtype", "width"), [("bf16", "BF16", 2), ("fp16", "F16", 2), ("fp32", "F32", 4)]
)
def test_cast_has_all_tensors_in_the_type_asked(
    name: str, dtype: str, width: int, weights: Path, tmp_path: Path
) -> None:
    folder = tmp_path / "cast"
    folder.mkdir()
    sample = make_sample(weights, name, folder)
    with open_source(sample.path) as source:
        assert {spec.name: spec.dtype for spec in source.specs} == {"a": dtype, "b": dtype}
        assert sum(spec.n_bytes for spec in source.specs) == 40_000 * width
    assert sample.source == weights


def test_largest_file_of_a_folder_is_taken(weights: Path, tmp_path: Path) -> None:
    save_file({"small": np.zeros(3, np.float32)}, tmp_path / "other.safetensors")
    assert make_sample(tmp_path, None, tmp_path).path.name == weights.name


def test_shards_are_measured_as_one_file(tmp_path: Path) -> None:
    half = np.ones((30, 40), np.float16)
    for number, name in enumerate("ab", 1):
        save_file({name: half * number}, tmp_path / f"model-0000{number}-of-00002.safetensors")
    save_file({"other": half[:3]}, tmp_path / "model-00001-of-00009.safetensors")
    folder = tmp_path / "copy"
    folder.mkdir()
    sample = make_sample(tmp_path, None, folder)
    assert (sample.source, sample.dtype, sample.n_bytes) == (tmp_path, "F16", sample.path.stat().st_size)
    with open_source(sample.path) as source:
        assert {spec.name for spec in source.specs} == {"a", "b"}
        np.testing.assert_array_equal(source.read("b"), half * 2)
    shard = tmp_path / "model-00001-of-00002.safetensors"
    assert make_sample(shard, None, folder).path == shard


def test_what_cannot_be_measured_is_a_usage_error(weights: Path, tmp_path: Path) -> None:
    empty = tmp_path / "empty"
    empty.mkdir()
    with pytest.raises(UsageError, match="holds no file"):
        make_sample(empty, None, tmp_path)
    with pytest.raises(UsageError, match="use one of bf16, fp16, fp32"):
        make_sample(weights, "bf61", tmp_path)
    save_file({"codes": np.zeros(9, np.int32)}, empty / "codes.safetensors")
    with pytest.raises(UsageError, match="no floats that could be cast"):
        make_sample(empty, "bf16", tmp_path)
