"""Which files a model's weights are, and the index of shards against what the shards hold."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.numpy import save_file

from tersor.errors import CorruptError, UnknownNameError, UsageError
from tersor.sources.folder import scan
from tersor.sources.weights import Weights, read_index, select


def shard(folder: Path, name: str, **tensors: float) -> None:
    folder.mkdir(exist_ok=True)
    save_file({key: np.full(2, value) for key, value in tensors.items()}, folder / name)


def index(folder: Path, weight_map: dict[str, object]) -> None:
    content = json.dumps({"metadata": {"total_size": 1}, "weight_map": weight_map})
    (folder / "model.safetensors.index.json").write_text(content)


def test_shards_read_as_one_model(tmp_path: Path) -> None:
    shard(tmp_path, "m-2.safetensors", b=2.0)
    shard(tmp_path, "m-1.safetensors", a=1.0, c=3.0)
    index(tmp_path, {"a": "m-1.safetensors", "c": "m-1.safetensors", "b": "m-2.safetensors"})
    checkpoint = scan(tmp_path)
    with checkpoint.open_weights() as weights:
        assert list(weights.specs) == ["a", "c", "b"]
        assert weights.file_of["b"] == "m-2.safetensors"
        np.testing.assert_array_equal(weights.read("b"), [2.0, 2.0])
        assert bytes(weights.raw("a")) == np.full(2, 1.0).tobytes()
        weights.release("a")
        assert len(weights) == 3
        with pytest.raises(UnknownNameError, match="no tensor 'z'"):
            weights.read("z")
    assert [spec.name for spec in checkpoint.weight_specs()] == ["a", "c", "b"]


def test_missing_shards_are_all_named(tmp_path: Path) -> None:
    shard(tmp_path, "m-1.safetensors", a=1.0)
    index(tmp_path, {"a": "m-1.safetensors", "b": "m-2.safetensors", "c": "m-3.safetensors"})
    with pytest.raises(CorruptError, match=r"names 2 of 3 shards .*m-2\.safetensors, m-3\.safetensors"):
        Weights(scan(tmp_path))


def test_tensor_that_is_not_where_the_index_says_is_named(tmp_path: Path) -> None:
    shard(tmp_path, "m-1.safetensors", a=1.0)
    shard(tmp_path, "m-2.safetensors", b=1.0)
    index(tmp_path, {"a": "m-2.safetensors", "b": "m-2.safetensors", "z": "m-1.safetensors"})
    with pytest.raises(CorruptError, match=r"m-2\.safetensors: lacks tensor 'a'.*2 such"):
        Weights(scan(tmp_path))


def test_name_in_two_files_is_refused(tmp_path: Path) -> None:
    shard(tmp_path, "x.safetensors", a=1.0)
    shard(tmp_path, "y.safetensors", a=1.0)
    with pytest.raises(CorruptError, match=r"tensor 'a' is also in x\.safetensors"):
        Weights(scan(tmp_path))


@pytest.mark.parametrize("name", ["../x.safetensors", "/etc/passwd", "a/../../x", "", "./m", 7, None])
def test_index_that_points_outside_is_refused(name: object, tmp_path: Path) -> None:
    index(tmp_path, {"a": name})
    with pytest.raises(CorruptError, match="places tensor 'a' outside the folder"):
        Weights(scan(tmp_path))


@pytest.mark.parametrize("content", [b"", b"\xff", b"[]", b"{}", b'{"weight_map":{}}', b"[" * 100_000])
def test_damaged_index_is_refused(content: bytes, tmp_path: Path) -> None:
    path = tmp_path / "model.safetensors.index.json"
    path.write_bytes(content)
    with pytest.raises(CorruptError, match=r"index\.json"):
        read_index(path)


def test_files_are_chosen_in_the_order_of_transformers(tmp_path: Path) -> None:
    torch.save({"a": torch.ones(1)}, tmp_path / "pytorch_model.bin")
    assert [entry.name for entry in select(scan(tmp_path))[0]] == ["pytorch_model.bin"]
    shard(tmp_path, "m-1.safetensors", a=1.0)
    index(tmp_path, {"a": "m-1.safetensors"})
    assert [entry.name for entry in select(scan(tmp_path))[0]] == ["m-1.safetensors"]
    shard(tmp_path, "model.safetensors", a=1.0)
    assert [entry.name for entry in select(scan(tmp_path))[0]] == ["model.safetensors"]


def test_other_names_are_taken_if_no_standard_one_exists(tmp_path: Path) -> None:
    torch.save({"a": torch.ones(1)}, tmp_path / "x.pt")
    assert [entry.name for entry in select(scan(tmp_path))[0]] == ["x.pt"]
    shard(tmp_path, "y.safetensors", a=1.0)
    assert [entry.name for entry in select(scan(tmp_path))[0]] == ["y.safetensors"]
    assert [entry.name for entry in select(scan(tmp_path / "x.pt"))[0]] == ["x.pt"]


def test_model_in_a_nested_folder_is_its_own(tmp_path: Path) -> None:
    shard(tmp_path, "model.safetensors", a=1.0)
    shard(tmp_path / "2_Dense", "m-1.safetensors", linear=2.0)
    index(tmp_path / "2_Dense", {"linear": "m-1.safetensors"})
    checkpoint = scan(tmp_path)
    assert [spec.name for spec in checkpoint.weight_specs()] == ["a"]
    assert [spec.name for spec in checkpoint.weight_specs("2_Dense")] == ["linear"]


def test_folder_without_weights_is_refused(tmp_path: Path) -> None:
    (tmp_path / "config.json").write_text("{}")
    with pytest.raises(UsageError, match=r"no weights found; needs one of model\.safetensors"):
        Weights(scan(tmp_path))


def test_tied_tensors_of_torch_files_are_aliases(tmp_path: Path) -> None:
    weight = torch.ones(2)
    torch.save({"a": weight, "b": weight}, tmp_path / "pytorch_model.bin")
    with Weights(scan(tmp_path)) as weights:
        assert weights.aliases == {"b": "a"}
