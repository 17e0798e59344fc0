"""Recipes of several steps, from end to end on tiny models: what is asked for is in the file, and the file loads."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

import tersor
from models import tiny_bert, tiny_gpt2
from tersor.errors import NonFiniteError
from tersor.history import read_history

QUERY = "encoder.layer.0.attention.self.query.weight"


@pytest.fixture(scope="module")
def bert(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tiny_bert(tmp_path_factory.mktemp("bert") / "model")


@pytest.fixture(scope="module")
def gpt2(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tiny_gpt2(tmp_path_factory.mktemp("gpt2") / "model")


def compress(
    source: Path, output: Path, text: Path, steps: list[dict[str, Any]], **fields: Any
) -> dict[str, Any]:
    recipe = {"steps": steps, "tune": "off", "drift": "off", **fields}
    return tersor.compress(source, output, recipe=recipe, calibration=text)


def weights_of(folder: Path) -> dict[str, np.ndarray]:
    with tersor.open(folder) as archive:
        return {name: np.array(archive[name]) for name in archive}


def original_of(folder: Path) -> dict[str, np.ndarray]:
    return {name: value.numpy() for name, value in tersor.load(folder).state_dict().items()}


def row_of(result: dict[str, Any], name: str) -> dict[str, Any]:
    return next(row for row in result["tensors"] if row["name"] == name)


def test_pruned_floats_are_sparse_and_smaller_and_all_else_is_as_it_was(
    bert: Path, text: Path, tmp_path: Path
) -> None:
    result = compress(bert, tmp_path / "out", text, [{"prune": {"sparsity": 0.5}}])
    packed = tersor.pack(bert, tmp_path / "packed")
    assert result["output"]["n_bytes"] < 0.83 * packed["output"]["n_bytes"]
    stored, original = weights_of(tmp_path / "out"), original_of(bert)
    assert row_of(result, QUERY)["layout"] == "sparse/1"
    assert (stored[QUERY] == 0).mean() == pytest.approx(0.5, abs=0.01)
    assert np.array_equal(
        stored["embeddings.word_embeddings.weight"], original["embeddings.word_embeddings.weight"]
    )
    assert np.array_equal(stored["pooler.dense.bias"], original["pooler.dense.bias"])


def test_two_of_four_are_zero_in_every_run_and_stay_so_when_quantized(
    bert: Path, text: Path, tmp_path: Path
) -> None:
    result = compress(
        bert, tmp_path / "out", text, [{"prune": {"pattern": "2:4"}}, {"quantize": {}}], size="0.12x"
    )
    assert 0.995 * 0.12 <= result["output"]["ratio"] <= 0.12
    runs = weights_of(tmp_path / "out")[QUERY].reshape(-1, 4)
    assert ((runs != 0).sum(axis=1) <= 2).all()
    assert row_of(result, QUERY)["prune"]["pattern"] == "2:4"


def test_global_scope_removes_a_share_of_all_pruned_tensors(bert: Path, text: Path, tmp_path: Path) -> None:
    step = {"prune": {"method": "magnitude", "scope": "global", "sparsity": 0.6}}
    result = compress(bert, tmp_path / "out", text, [step])
    stored = weights_of(tmp_path / "out")
    pruned = [stored[row["name"]] for row in result["tensors"] if "prune" in row]
    zeros = sum(int((weight == 0).sum()) for weight in pruned) / sum(weight.size for weight in pruned)
    assert zeros == pytest.approx(0.6, abs=0.005)
    assert len({round(float((weight == 0).mean()), 3) for weight in pruned}) > 1


def test_targets_of_a_step_say_which_tensors_it_changes(bert: Path, text: Path, tmp_path: Path) -> None:
    steps = [{"prune": {"method": "magnitude", "sparsity": 0.75}, "targets": "*.query.weight"}]
    result = compress(bert, tmp_path / "out", text, steps)
    stored, original = weights_of(tmp_path / "out"), original_of(bert)
    changed = {name for name in stored if not np.array_equal(stored[name], original[name])}
    assert changed == {row["name"] for row in result["tensors"] if row["name"].endswith("query.weight")}


def test_drift_correction_leaves_zeros_zero(bert: Path, text: Path, tmp_path: Path) -> None:
    steps = [{"prune": {}}, {"quantize": {}}]
    result = compress(bert, tmp_path / "out", text, steps, size="0.16x", drift="on")
    assert result["drift"]["n_corrected"] > 0
    assert (weights_of(tmp_path / "out")[QUERY] == 0).mean() >= 0.49


@pytest.mark.parametrize("dtype", ["bfloat16", "float16"])
def test_cast_is_the_rounding_of_every_float(dtype: str, bert: Path, text: Path, tmp_path: Path) -> None:
    result = compress(bert, tmp_path / "out", text, [{"cast": {"dtype": dtype}}, {"code": {"level": "max"}}])
    assert result["output"]["ratio"] < 0.5
    stored = weights_of(tmp_path / "out")
    for name, value in original_of(bert).items():
        rounded = torch.from_numpy(value).to(getattr(torch, dtype)).float().numpy()
        assert np.array_equal(stored[name].astype(np.float32), rounded), name


def test_cast_beyond_the_range_of_float16_names_the_tensor(bert: Path, text: Path, tmp_path: Path) -> None:
    model = tersor.load(bert)
    with torch.no_grad():
        model.pooler.dense.bias[0] = 1e6
    model.save_pretrained(tmp_path / "large")
    for name in ("tokenizer.json", "tokenizer_config.json"):
        (tmp_path / "large" / name).write_bytes((bert / name).read_bytes())
    with pytest.raises(NonFiniteError, match=r"'pooler.dense.bias': 1 elements are beyond .* F16"):
        compress(tmp_path / "large", tmp_path / "out", text, [{"cast": {"dtype": "float16"}}])


def test_factors_have_the_rank_that_keep_says(gpt2: Path, text: Path, tmp_path: Path) -> None:
    result = compress(gpt2, tmp_path / "out", text, [{"low_rank": {"keep": 0.5}}])
    row = next(row for row in result["tensors"] if row["name"].endswith("attn.c_proj.weight"))
    assert row["layout"] == "low_rank/1"
    with tersor.open(tmp_path / "out") as archive:
        factors = archive.factors(row["name"])
        assert factors is not None
        assert np.linalg.matrix_rank(archive[row["name"]].astype(np.float64), tol=1e-4) <= factors.rank
    assert tersor.verify(tmp_path / "out")["ok"]
    tersor.load(tmp_path / "out")


LOW_RANK = {"low_rank": {"keep": 0.4, "residual": True}}
MIXED = [
    [{"low_rank": {"keep": 0.5}}, {"quantize": {}}],
    [{"prune": {}}, LOW_RANK, {"quantize": {}}],
    [LOW_RANK, {"prune": {"sparsity": 0.7}}, {"quantize": {}}],
]


@pytest.mark.parametrize("steps", MIXED, ids=["+".join(next(iter(s)) for s in steps) for steps in MIXED])
def test_size_holds_for_factors_and_residuals(
    steps: list[dict[str, Any]], bert: Path, text: Path, tmp_path: Path
) -> None:
    result = compress(bert, tmp_path / "out", text, steps, size="0.16x")
    assert 0.995 * 0.16 <= result["output"]["ratio"] <= 0.16
    assert tersor.verify(tmp_path / "out")["ok"]
    # Of random weights half the rank is much; ranks and factors go by the model's output, not by the weights.
    assert np.mean([row["error"] for row in result["tensors"] if "low_rank" in row]) < 0.8


def test_options_are_allocated_to_factors(bert: Path, text: Path, tmp_path: Path) -> None:
    steps = [
        {"low_rank": {"keep": 0.5}, "targets": "*.query.weight"},
        {"quantize": {"method": "fixed", "options": {"granularity": "row"}}},
    ]
    result = compress(bert, tmp_path / "out", text, steps, size="0.17x")
    assert 0.995 * 0.17 <= result["output"]["ratio"] <= 0.17
    assert row_of(result, QUERY)["options"]["bits"] in range(2, 9)
    assert row_of(result, QUERY)["layout"] == "low_rank/1"


def test_residual_that_is_pruned_is_sparse(bert: Path, text: Path, tmp_path: Path) -> None:
    compress(bert, tmp_path / "out", text, [LOW_RANK, {"prune": {"sparsity": 0.75}}])
    with tersor.open(tmp_path / "out") as archive:
        factors = archive.factors(QUERY)
        assert factors is not None
        assert factors.residual is not None
        assert (factors.residual == 0).mean() == pytest.approx(0.75, abs=0.01)


def test_smaller_model_is_recovered_and_quantized_and_counted_against_the_original(
    bert: Path, text: Path, tmp_path: Path
) -> None:
    steps = [
        {"heads": {"share": 0.25}, "evaluate": "embedding"},
        {"neurons": {"share": 0.5}},
        {"recover": {"what": "all", "steps": 3}, "evaluate": "embedding"},
        {"quantize": {}, "evaluate": "embedding"},
    ]
    result = compress(bert, tmp_path / "out", text, steps, size="0.15x")
    n_input = sum(path.stat().st_size for path in bert.glob("*.safetensors"))
    assert result["input"]["n_bytes"] == n_input
    assert 0.995 * 0.15 <= result["output"]["n_bytes"] / n_input <= 0.15
    assert row_of(result, QUERY)["shape"] == [24, 32]
    assert [next(iter(row["step"])) for row in result["steps"]] == ["heads", "recover", "quantize"]
    assert result["recover"][0]["what"] == "all"
    model = tersor.load(tmp_path / "out")
    assert model.encoder.layer[0].intermediate.dense.out_features == 32
    assert list(tmp_path.iterdir()) == [tmp_path / "out"]


def test_layers_alone_are_stored_as_floats_and_load_everywhere(
    gpt2: Path, text: Path, tmp_path: Path
) -> None:
    result = compress(gpt2, tmp_path / "out", text, [{"layers": {"keep": [0]}}])
    assert {row["layout"] for row in result["tensors"]} <= {"dense/1", "alias/1"}
    assert tersor.load(tmp_path / "out").config.n_layer == 1


def test_small_parameters_are_tuned_after_pruning(gpt2: Path, text: Path, tmp_path: Path) -> None:
    recover = {"what": "small", "steps": 8, "learning_rate": 0.002}
    steps = [{"prune": {"sparsity": 0.6}}, {"recover": recover, "evaluate": "kl"}]
    result = compress(gpt2, tmp_path / "out", text, steps)
    before, after = result["tune"]["error"]
    assert after < before
    assert result["tune"]["n_steps"] == 8
    assert [next(iter(row["step"])) for row in result["steps"]] == ["recover"]


def test_steps_are_measured_where_the_recipe_says(bert: Path, text: Path, tmp_path: Path) -> None:
    steps = [{"prune": {"sparsity": 0.9}, "evaluate": "embedding"}, {"quantize": {}, "evaluate": "embedding"}]
    result = compress(bert, tmp_path / "out", text, steps, size="0.12x")
    pruned, quantized = result["steps"]
    assert pruned["value"] > 0
    assert quantized["value"] == pytest.approx(pruned["value"], rel=0.5)


def test_history_says_what_was_done(bert: Path, text: Path, tmp_path: Path) -> None:
    result = compress(bert, tmp_path / "out", text, [{"prune": {}}, {"quantize": {}}], size="0.12x")
    (entry,) = read_history(tmp_path / "out")
    assert entry["kind"] == "compress"
    assert entry["recipe"]["steps"] == [{"prune": {}}, {"quantize": {}}]
    assert entry["recipe"]["calibration"] == text.name
    assert [row["name"] for row in entry["tensors"]] == [row["name"] for row in result["tensors"]]
    assert QUERY in entry["sensitivity"]
    assert str(tmp_path) not in (tmp_path / "out" / "tersor_history.json").read_text()


def test_the_same_recipe_gives_the_same_bytes(gpt2: Path, text: Path, tmp_path: Path) -> None:
    steps = [{"neurons": {"share": 0.25}}, {"prune": {}}, {"quantize": {}}]
    for name in ("one", "two"):
        compress(gpt2, tmp_path / name, text, steps, size="0.12x")
    for path in sorted((tmp_path / "one").iterdir()):
        assert path.read_bytes() == (tmp_path / "two" / path.name).read_bytes(), path.name


def test_archives_are_refused_with_what_to_do(bert: Path, text: Path, tmp_path: Path) -> None:
    tersor.pack(bert, tmp_path / "packed")
    with pytest.raises(tersor.errors.UsageError, match="is a packed checkpoint; `tersor unpack"):
        tersor.compress(tmp_path / "packed", tmp_path / "out", size="0.1x")
    compress(bert, tmp_path / "small", text, [{"cast": {"dtype": "bfloat16"}}])
    with pytest.raises(tersor.errors.UsageError, match="is compressed already"):
        tersor.compress(tmp_path / "small", tmp_path / "out", size="0.1x")
