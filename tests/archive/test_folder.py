from __future__ import annotations

import json

import pytest

from tersor.archive.folder import adapt_config, adapt_shard_index, archive_name, shard_index_name


@pytest.mark.parametrize(
    ("original", "expected"),
    [
        ("model.safetensors", "model.tersor.safetensors"),
        ("a/model-00001-of-00002.safetensors", "a/model-00001-of-00002.tersor.safetensors"),
        ("pytorch_model.bin", "pytorch_model.bin.tersor.safetensors"),
        ("x", "x.tersor.safetensors"),
        (".safetensors", ".safetensors.tersor.safetensors"),
    ],
)
def test_archive_file_is_named_after_the_original(original: str, expected: str) -> None:
    assert archive_name(original) == expected


def test_second_file_of_one_name_gets_a_number() -> None:
    taken = {"x.tersor.safetensors", "x-1.tersor.safetensors"}
    assert archive_name("x", taken) == "x-2.tersor.safetensors"
    assert archive_name("X", taken) == "X-2.tersor.safetensors"


def test_name_at_the_limit_of_file_systems_is_cut() -> None:
    name = archive_name("a/" + "ä" * 127 + ".safetensors")
    assert len(name.removeprefix("a/").encode()) <= 255
    assert name.endswith("ä.tersor.safetensors")


def test_config_keeps_its_entries_and_names_tersor() -> None:
    config = json.loads(adapt_config(b'{"model_type": "bert", "x": [1]}') or b"")
    assert config == {"model_type": "bert", "x": [1], "quantization_config": {"quant_method": "tersor"}}


def test_earlier_quantization_config_is_kept_inside() -> None:
    config = json.loads(adapt_config(b'{"quantization_config": {"quant_method": "gptq"}}') or b"")
    assert config["quantization_config"] == {"quant_method": "tersor", "original": {"quant_method": "gptq"}}


@pytest.mark.parametrize("text", [b"", b"[1]", b"{", b"\xff", b"[" * 100_000])
def test_config_that_is_no_object_is_not_adapted(text: bytes) -> None:
    assert adapt_config(text) is None
    assert adapt_shard_index(text) is None


def test_shard_index_names_the_archive_files() -> None:
    index = {
        "metadata": {"total_size": 8},
        "weight_map": {"a": "model-1.safetensors", "b": "model-2.safetensors"},
    }
    adapted = json.loads(adapt_shard_index(json.dumps(index).encode()) or b"")
    assert adapted["metadata"] == {"total_size": 8}
    assert adapted["weight_map"] == {"a": "model-1.tersor.safetensors", "b": "model-2.tersor.safetensors"}
    assert shard_index_name("sub/model.safetensors.index.json") == "sub/model.tersor.safetensors.index.json"


@pytest.mark.parametrize("text", [b"{}", b'{"weight_map": [1]}', b'{"weight_map": {"a": 1}}'])
def test_shard_index_that_is_none_is_not_adapted(text: bytes) -> None:
    assert adapt_shard_index(text) is None
