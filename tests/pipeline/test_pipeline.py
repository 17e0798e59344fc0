"""`compress` from end to end on tiny models: the budget holds, the archive opens, nothing is left to chance."""

from __future__ import annotations

from collections.abc import Callable
from hashlib import sha256
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

import tersor
from models import tiny_bert, tiny_gpt2, tiny_llama
from tersor.errors import BudgetError, OutputExistsError, RecipeError, UsageError

Compress = Callable[..., dict[str, Any]]


def digests(folder: Path) -> dict[str, str]:
    return {
        path.relative_to(folder).as_posix(): sha256(path.read_bytes()).hexdigest()
        for path in sorted(folder.rglob("*"))
        if path.is_file()
    }


@pytest.fixture(scope="module")
def bert(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("bert") / "model"
    tiny_bert(folder)
    return folder


@pytest.fixture(scope="module")
def compressed(text: Path) -> Compress:
    def compress(source: Path, output: Path, **options: Any) -> dict[str, Any]:
        return tersor.compress(source, output, **({"size": "0.3x", "calibration": text} | options))

    return compress


@pytest.mark.parametrize("make", [tiny_bert, tiny_llama, tiny_gpt2], ids=["bert", "llama", "gpt2"])
def test_size_is_met_and_model_opens_with_the_values_of_the_archive(
    compressed: Compress, make: Any, tmp_path: Path
) -> None:
    make(tmp_path / "model")
    result = compressed(tmp_path / "model", tmp_path / "small", size="0.35x")
    n_input = sum(path.stat().st_size for path in (tmp_path / "model").glob("*.safetensors"))
    n_output = sum(path.stat().st_size for path in (tmp_path / "small").glob("*.tersor.safetensors"))
    assert 0.995 * 0.35 * n_input <= n_output <= 0.35 * n_input
    assert result["output"]["n_bytes"] == n_output
    assert result["input"]["n_bytes"] == n_input
    model = tersor.load(tmp_path / "small")
    parameters = {name.split(".", 1)[-1]: value for name, value in model.state_dict().items()}
    with tersor.open(tmp_path / "small") as archive:
        compared = 0
        for name in archive:
            value = model.state_dict().get(name, parameters.get(name))
            if value is not None:
                assert np.array_equal(value.numpy(), archive[name]), name
                compared += 1
    assert compared > 10


def test_conv1d_weights_are_quantized_transposed(compressed: Compress, tmp_path: Path) -> None:
    tiny_gpt2(tmp_path / "model")
    result = compressed(tmp_path / "model", tmp_path / "small", size="0.35x")
    rows = {row["name"]: row for row in result["tensors"]}
    name = next(name for name in rows if name.endswith("attn.c_attn.weight"))
    assert rows[name]["layout"] == "grid/1"
    assert 0 < rows[name]["error"] < 0.1


def test_same_input_gives_the_same_bytes_for_any_number_of_threads(
    compressed: Compress, bert: Path, tmp_path: Path
) -> None:
    before = digests(bert)
    compressed(bert, tmp_path / "one", threads=1)
    compressed(bert, tmp_path / "two", threads=2)
    assert digests(tmp_path / "one") == digests(tmp_path / "two")
    assert digests(bert) == before


def test_error_of_each_tensor_is_that_of_the_file(compressed: Compress, bert: Path, tmp_path: Path) -> None:
    result = compressed(bert, tmp_path / "small")
    with tersor.open(tmp_path / "small") as archive:
        original = tersor.load(bert).state_dict()
        for row in result["tensors"]:
            if row["name"] in original and row["layout"] == "grid/1":
                before = original[row["name"]].numpy().astype(np.float64)
                error = np.square(archive[row["name"]] - before).sum() / max(np.square(before).sum(), 1e-300)
                assert row["error"] == pytest.approx(error, rel=1e-3, abs=1e-12)


def test_provenance_says_how_to_make_it_again(compressed: Compress, bert: Path, tmp_path: Path) -> None:
    text = tmp_path / "text.txt"
    text.write_text(
        "The quick brown fox jumps over the lazy dog. It does so again and again.\n" * 50, encoding="utf-8"
    )
    compressed(bert, tmp_path / "small", calibration=text, seed=3)
    with tersor.open(tmp_path / "small") as archive:
        provenance = archive.provenance
    assert provenance["recipe"] == {
        "size": "0.3x",
        "method": "two_sided",
        "calibration": "text.txt",
        "seed": 3,
    }
    assert len(provenance["calibration"]["calibration_sha256"]) == 64
    assert set(provenance["libraries"]) == {"numpy", "torch", "transformers"}


def test_shards_of_bin_weights_become_shards_of_the_archive(
    compressed: Compress, bert: Path, tmp_path: Path
) -> None:
    source = tmp_path / "model"
    source.mkdir()
    for path in bert.iterdir():
        if path.suffix != ".safetensors":
            (source / path.name).write_bytes(path.read_bytes())
    state = tersor.load(bert).state_dict()
    names = sorted(state)
    parts = {"pytorch_model-00001-of-00002.bin": names[::2], "pytorch_model-00002-of-00002.bin": names[1::2]}
    import json

    for file, held in parts.items():
        torch.save({name: state[name].clone() for name in held}, source / file)
    index = {"metadata": {}, "weight_map": {name: file for file, held in parts.items() for name in held}}
    (source / "pytorch_model.bin.index.json").write_text(json.dumps(index), encoding="utf-8")
    compressed(source, tmp_path / "small", size="0.4x")
    assert sorted(path.name for path in (tmp_path / "small").glob("*.safetensors*")) == [
        "model-00001-of-00002.tersor.safetensors",
        "model-00002-of-00002.tersor.safetensors",
        "model.tersor.safetensors.index.json",
    ]
    loaded = tersor.load(tmp_path / "small").state_dict()
    with tersor.open(tmp_path / "small") as archive:
        assert all(np.array_equal(loaded[name].numpy(), archive[name]) for name in names if name in loaded)
    assert tersor.verify(tmp_path / "small")["ok"]


def test_rtn_is_a_recipe_away(compressed: Compress, bert: Path, tmp_path: Path) -> None:
    result = compressed(bert, tmp_path / "small", recipe={"method": "rtn"})
    assert result["recipe"]["method"] == "rtn"


def test_dry_run_plans_and_writes_nothing(compressed: Compress, bert: Path, tmp_path: Path) -> None:
    result = compressed(bert, tmp_path / "small", dry_run=True)
    assert {row["method"] for row in result["tensors"]} >= {"two_sided", "rtn"}
    assert all(row["reason"] for row in result["tensors"])
    assert list(tmp_path.iterdir()) == []


def test_size_that_cannot_be_reached_names_the_nearest_and_what_no_step_touches(
    compressed: Compress, bert: Path, tmp_path: Path
) -> None:
    with pytest.raises(BudgetError, match=r"cannot be reached.* remain"):
        compressed(bert, tmp_path / "small", size="2kB")
    assert list(tmp_path.iterdir()) == []


def test_wrong_calls_are_refused_before_any_work(compressed: Compress, bert: Path, tmp_path: Path) -> None:
    (tmp_path / "there").mkdir()
    (tmp_path / "there" / "mine.txt").write_text("keep", encoding="utf-8")
    with pytest.raises(OutputExistsError):
        compressed(bert, tmp_path / "there")
    with pytest.raises(RecipeError, match="did you mean 'gptq'"):
        compressed(bert, tmp_path / "small", recipe={"method": "gptk"})
    with pytest.raises(UsageError, match=r"no config\.json"):
        compressed(tmp_path / "there", tmp_path / "small")
    with pytest.raises(UsageError, match="threads=0"):
        compressed(bert, tmp_path / "small", threads=0)
