"""Files other than safetensors are packed tensor by tensor, and come back byte for byte."""

from __future__ import annotations

import random
from pathlib import Path

import numpy as np
import pytest
import torch

import tersor
from sample_files import GGUF_METADATA, SAMPLES, gguf_file, gguf_string, state_dict, torch_file
from tersor.packing import pack, unpack


def round_trip(source: Path, work: Path) -> dict:
    """Pack, unpack, compare; return the result of `pack`."""
    result = pack(source, work / "packed", force=True)
    unpack(work / "packed", work / "back", force=True)
    assert (work / "back").read_bytes() == source.read_bytes()
    return result


@pytest.mark.parametrize("name", SAMPLES)
def test_every_kind_comes_back_and_is_stored_by_tensors(name: str, tmp_path: Path) -> None:
    (tmp_path / name).write_bytes(SAMPLES[name]())
    result = round_trip(tmp_path / name, tmp_path)
    assert result["log"] == []
    assert name not in {row["name"] for row in result["tensors"]}


@pytest.mark.parametrize("name", SAMPLES)
def test_damaged_files_come_back(name: str, tmp_path: Path) -> None:
    content, chance = SAMPLES[name](), random.Random(1)
    for _ in range(10):
        changed = bytearray(content[: chance.randrange(len(content) + 1)])
        for _ in range(min(3, len(changed))):
            changed[chance.randrange(len(changed))] = chance.randrange(256)
        (tmp_path / name).write_bytes(changed)
        round_trip(tmp_path / name, tmp_path)


@pytest.mark.parametrize("zipped", [True, False])
def test_archive_of_a_torch_file_has_torchs_names(zipped: bool, tmp_path: Path) -> None:
    (tmp_path / "pytorch_model.bin").write_bytes(torch_file(state_dict(), zipped=zipped))
    pack(tmp_path / "pytorch_model.bin", tmp_path / "packed")
    with tersor.open(tmp_path / "packed") as archive:
        assert set(archive) == set(state_dict())
        assert dict(archive.aliases) == {"head.weight": "embed.weight"}
        np.testing.assert_array_equal(archive["head.weight"], state_dict()["embed.weight"].numpy())


def test_tied_tensor_that_equals_another_is_stored_once(tmp_path: Path) -> None:
    weight = torch.randn(200, 100, generator=torch.Generator().manual_seed(0))
    state = {"a": weight, "b": weight.clone(), "c": torch.ones(1)}
    state["d"] = state["b"]
    (tmp_path / "x.bin").write_bytes(torch_file(state))
    round_trip(tmp_path / "x.bin", tmp_path)
    with tersor.open(tmp_path / "packed") as archive:
        assert dict(archive.aliases) == {"b": "a", "d": "a"}


def test_file_that_is_not_what_it_claims_is_packed_as_bytes_and_the_log_says_why(tmp_path: Path) -> None:
    (tmp_path / "x.bin").write_bytes(torch_file({"a": np.float64}))
    result = round_trip(tmp_path / "x.bin", tmp_path)
    assert [row["name"] for row in result["tensors"]] == ["x.bin"]
    (line,) = result["log"]
    assert line.startswith("x.bin: packed as plain bytes: as a torch-zip file: the pickle names")


def test_reserved_name_makes_the_file_plain(tmp_path: Path) -> None:
    (tmp_path / "x.gguf").write_bytes(gguf_file([("tersor.index", (1,), 0, bytes(4))]))
    result = round_trip(tmp_path / "x.gguf", tmp_path)
    assert "is reserved" in result["log"][0]


def test_long_metadata_does_not_make_the_index_long(tmp_path: Path) -> None:
    content = np.random.default_rng(0).bytes(1 << 20).hex()
    metadata = gguf_string("vocabulary") + b"\x08\0\0\0" + gguf_string(content)
    source = tmp_path / "x.gguf"
    source.write_bytes(gguf_file([("a", (64,), 0, bytes(256))], metadata=(*GGUF_METADATA, metadata)))
    rows = round_trip(source, tmp_path)["tensors"]
    assert [row["name"] for row in rows] == ["bytes@0", "a"]
    assert rows[0]["n_bytes"] < 0.6 * len(content)
