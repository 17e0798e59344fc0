"""Models that compute with factors: equal outputs, plain checkpoints, clear limits."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn
from transformers import AutoModel

import tersor
from low_rank_archives import floats, low_rank_model
from models import tiny_bert, tiny_gpt2, tiny_llama
from tersor.errors import UsageError
from tersor.layouts.low_rank import Factors
from tersor.runtime.low_rank import LowRankLinear, keeps_factors, use_factors

MAKERS = {"bert": tiny_bert, "gpt2": tiny_gpt2, "llama": tiny_llama}
N_FACTORED = {"bert": 13, "gpt2": 8, "llama": 14}
every_model = pytest.mark.parametrize("name", MAKERS)
IDS = torch.arange(24).reshape(2, 12) + 5


@pytest.fixture(scope="module")
def folders(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    root = tmp_path_factory.mktemp("models")
    return {
        name: low_rank_model(make(root / name), root / f"{name}-low-rank", residual=name == "bert")
        for name, make in MAKERS.items()
    }


def outputs(model: nn.Module) -> torch.Tensor:
    with torch.no_grad():
        return model(IDS)[0]


def without_prefix(name: str) -> str:
    return name.removeprefix("transformer.").removeprefix("model.")


def factored(model: nn.Module) -> list[LowRankLinear]:
    return [module for module in model.modules() if isinstance(module, LowRankLinear)]


@every_model
def test_plain_loading_gives_the_product(name: str, folders: dict[str, Path]) -> None:
    model = AutoModel.from_pretrained(folders[name])
    assert factored(model) == []
    named = {
        key.removeprefix("transformer.").removeprefix("model."): value
        for key, value in model.state_dict().items()
    }
    with tersor.open(folders[name]) as archive:
        for key in archive:
            if without_prefix(key) in named:
                assert np.array_equal(archive[key], named[without_prefix(key)].numpy()), key
    assert not any(".tersor." in pattern for pattern in model._keys_to_ignore_on_load_unexpected)


@every_model
def test_loading_reports_no_part_as_unexpected(name: str, folders: dict[str, Path]) -> None:
    model_class = type(tersor.load(folders[name]))
    _, report = model_class.from_pretrained(folders[name], output_loading_info=True)
    assert not report["unexpected_keys"]
    assert not report["missing_keys"]


@every_model
def test_factors_give_the_outputs_of_the_product(name: str, folders: dict[str, Path]) -> None:
    plain, model = tersor.load(folders[name]), tersor.load(folders[name], factors=True)
    assert len(factored(model)) == N_FACTORED[name]
    assert not model.training
    torch.testing.assert_close(outputs(model), outputs(plain), atol=1e-5, rtol=1e-4)
    assert not keeps_factors()


@every_model
def test_saved_model_is_a_plain_checkpoint(name: str, folders: dict[str, Path], tmp_path: Path) -> None:
    model = tersor.load(folders[name], factors=True)
    model.save_pretrained(tmp_path / "saved")
    saved = type(model).from_pretrained(tmp_path / "saved")
    assert factored(saved) == []
    assert saved.state_dict().keys() == tersor.load(folders[name]).state_dict().keys()
    torch.testing.assert_close(outputs(saved), outputs(model), atol=1e-5, rtol=1e-4)


def test_factors_take_the_dtype_that_the_model_is_loaded_in(folders: dict[str, Path]) -> None:
    model = tersor.load(folders["llama"], dtype="bfloat16", factors=True)
    assert {parameter.dtype for parameter in model.parameters()} == {torch.bfloat16}
    assert factored(model)[0].weight.dtype == torch.bfloat16


def test_shards_hold_the_parts_of_their_own_tensors(tmp_path: Path) -> None:
    original = tiny_llama(tmp_path / "whole")
    model = tersor.load(original)
    model.save_pretrained(tmp_path / "sharded", max_shard_size="40KB")
    archive = low_rank_model(tmp_path / "sharded", tmp_path / "archive")
    assert len(list(archive.glob("*.tersor.safetensors"))) > 1
    assert tersor.verify(archive)["ok"]
    plain, low = tersor.load(archive), tersor.load(archive, factors=True)
    assert len(factored(low)) == N_FACTORED["llama"]
    torch.testing.assert_close(outputs(low), outputs(plain), atol=1e-5, rtol=1e-4)


def test_plain_folder_loads_as_ever(tmp_path: Path) -> None:
    assert factored(tersor.load(tiny_bert(tmp_path / "plain"), factors=True)) == []


def factors_of(rows: int, columns: int, *, transposed: bool = False, residual: bool = False) -> Factors:
    missed = floats(rows, columns, seed=3) if residual else None
    return Factors(floats(rows, 2, seed=1), floats(2, columns, seed=2), missed, transposed)


@pytest.mark.parametrize("residual", [False, True])
@pytest.mark.parametrize("transposed", [False, True])
def test_linear_layer_is_replaced_however_the_product_is_stored(transposed: bool, residual: bool) -> None:
    model = nn.Sequential(nn.Linear(5, 7))
    shape = (5, 7) if transposed else (7, 5)
    factors = factors_of(*shape, transposed=transposed, residual=residual)
    product = factors.left @ factors.right + (factors.residual if residual else 0)
    weight = torch.from_numpy(np.array(product.T if transposed else product))
    expected = nn.functional.linear(torch.ones(3, 5), weight, model[0].bias)
    assert use_factors(model, "0.weight", factors)
    torch.testing.assert_close(model(torch.ones(3, 5)), expected)
    torch.testing.assert_close(model.state_dict()["0.weight"], weight)
    assert list(model.state_dict()) == ["0.weight", "0.bias"]
    assert "in_features=5, out_features=7, rank=2" in repr(model)


def test_gradients_reach_the_factors() -> None:
    model = nn.Sequential(nn.Linear(5, 7, bias=False))
    use_factors(model, "0.weight", factors_of(7, 5))
    model(torch.ones(1, 5)).sum().backward()
    assert all(parameter.grad is not None for parameter in model.parameters())
    assert model.state_dict(keep_vars=True)["0.weight"].requires_grad


def test_shared_and_other_layers_stay_as_they_are() -> None:
    tied = nn.Sequential(nn.Embedding(7, 5), nn.Linear(5, 7, bias=False))
    tied[1].weight = tied[0].weight
    assert not use_factors(tied, "1.weight", factors_of(7, 5))
    assert not use_factors(tied, "0.weight", factors_of(7, 5))
    attention = nn.MultiheadAttention(8, 2)
    assert not use_factors(nn.Sequential(attention), "0.out_proj.weight", factors_of(8, 8))


def test_layer_stays_plain_where_two_products_are_slower_than_one() -> None:
    slow = Factors(floats(12, 5, seed=1), floats(5, 10, seed=2), None, False)
    assert not use_factors(nn.Sequential(nn.Linear(10, 12)), "0.weight", slow)
    fast = Factors(floats(12, 4, seed=1), floats(4, 10, seed=2), None, False)
    assert use_factors(nn.Sequential(nn.Linear(10, 12)), "0.weight", fast)


def test_plain_state_is_refused_with_the_way_out() -> None:
    model = nn.Sequential(nn.Linear(5, 7))
    state = model.state_dict()
    use_factors(model, "0.weight", factors_of(7, 5))
    with pytest.raises(UsageError, match=r"0\.weight: .*loaded with factors=False"):
        model.load_state_dict(state)
