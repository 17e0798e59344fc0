"""Tensors that are pruned are read pruned, the same each time, and stored with their zeros."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from tersor.calibrate import Statistics
from tersor.errors import NonFiniteError
from tersor.layouts.base import Dense
from tersor.layouts.grid import Grid
from tersor.layouts.low_rank import LowRank
from tersor.layouts.sparse import Sparse
from tersor.planner import Plan, PrunedReader, Rounding, TensorPlan, quantize_matrix, store_tensor
from tersor.planner.rate import SizeEstimator
from tersor.planner.spool import ValueSpool
from tersor.planner.treatments import LowRankChoice, PruneChoice
from tersor.types import TensorSpec

SHAPE = (64, 96)
HALF = PruneChoice("magnitude", 0.5)


def weight(seed: int = 0) -> np.ndarray:
    return np.random.RandomState(seed).randn(*SHAPE).astype(np.float32)


def tensor(
    name: str = "w", method: str = "float", shape: tuple[int, int] = SHAPE, **parts: object
) -> TensorPlan:
    return TensorPlan(TensorSpec(name, "F32", shape), method, "test", **parts)  # type: ignore[arg-type]


def reader(folder: Path, *tensors: TensorPlan, values: dict[str, np.ndarray]) -> PrunedReader:
    return PrunedReader(values.__getitem__, Plan(tensors), Statistics(folder), folder / "pruned")


def test_pruned_tensor_is_pruned_once_and_others_are_as_they_were(tmp_path: Path) -> None:
    values = {"w": weight(), "other": weight(1)}
    read = reader(tmp_path, tensor(prune=HALF), tensor("other", "keep"), values=values)
    first = read("w")
    assert (first == 0).mean() == pytest.approx(0.5, abs=0.01)
    values["w"] = weight(2)
    assert np.array_equal(read("w"), first)
    assert read("other") is values["other"]


def test_transposed_tensor_is_pruned_along_its_matrix(tmp_path: Path) -> None:
    read = reader(tmp_path, tensor(prune=HALF, is_transposed=True), values={"w": weight()})
    assert read("w").shape == SHAPE
    assert ((read("w") == 0).sum(axis=0) == SHAPE[0] // 2).all()


def test_global_scope_has_one_threshold_for_all_tensors_of_a_step(tmp_path: Path) -> None:
    choice = PruneChoice("magnitude", 0.5, "global")
    plans = [tensor(prune=choice), tensor("large", prune=choice)]
    read = reader(tmp_path, *plans, values={"w": weight(), "large": 3 * weight(1)})
    small, large = (float((read(name) == 0).mean()) for name in ("w", "large"))
    assert small > 0.7 > 0.4 > large
    assert small + large == pytest.approx(1.0, abs=0.01)


def test_weights_that_are_not_finite_are_refused_by_name(tmp_path: Path) -> None:
    broken = weight()
    broken[3, 4] = np.nan
    read = reader(tmp_path, tensor(prune=HALF), values={"w": broken})
    with pytest.raises(NonFiniteError, match=r"tensor 'w': .* 1 NaN"):
        read("w")


@pytest.mark.parametrize("method", ["two_sided", "gptq", "rtn", "fixed", "nf4", "ternary"])
def test_zeros_of_a_pruned_tensor_stay_zero_when_it_is_quantized(method: str, tmp_path: Path) -> None:
    plan = tensor(method=method, prune=HALF)
    read = reader(tmp_path, plan, values={"w": weight()})
    grid = store_tensor(read, plan, Statistics(tmp_path), Rounding(0.1))
    assert isinstance(grid, Grid)
    assert (grid.to_dense()[read("w") == 0] == 0).all()


def test_mask_that_is_given_wins_over_what_is_zero(tmp_path: Path) -> None:
    mask = weight(5) > 0
    grid = quantize_matrix(
        weight(), tensor(method="rtn", prune=HALF), Statistics(tmp_path), Rounding(0.1), mask=mask
    )
    assert (grid.to_dense()[~mask] == 0).all()
    assert (grid.to_dense()[mask] != 0).mean() > 0.9


def test_pruned_float_is_sparse_and_others_are_dense(tmp_path: Path) -> None:
    sparse, dense = tensor(prune=HALF), tensor(cast="F16")
    read = reader(tmp_path, sparse, values={"w": weight()})
    made = store_tensor(read, sparse, Statistics(tmp_path), Rounding(1.0))
    assert isinstance(made, Sparse)
    assert np.array_equal(made.array, read("w"))
    cast = store_tensor(lambda name: weight(), dense, Statistics(tmp_path), Rounding(1.0))
    assert isinstance(cast, Dense)
    assert cast.array.dtype == np.float16


@pytest.mark.parametrize("method", ["float", "two_sided", "fixed"])
@pytest.mark.parametrize("of_residual", [False, True])
def test_residual_of_factors_is_zero_where_it_is_pruned(
    method: str, of_residual: bool, tmp_path: Path
) -> None:
    prune = PruneChoice("magnitude", 0.75, of_residual=of_residual)
    plan = tensor(method=method, prune=prune, low_rank=LowRankChoice("svd", 0.4, residual=True))
    read = reader(tmp_path, plan, values={"w": weight()})
    made = store_tensor(read, plan, Statistics(tmp_path), Rounding(0.05))
    assert isinstance(made, LowRank)
    residual = made.residual.to_dense() if isinstance(made.residual, Grid) else made.residual.array  # type: ignore[union-attr]
    assert (residual == 0).mean() >= 0.74
    if not of_residual:
        assert (residual[read("w") == 0] == 0).all()


def test_size_of_factors_is_estimated_within_a_tenth(tmp_path: Path) -> None:
    plan = tensor(method="two_sided", shape=(256, 256), low_rank=LowRankChoice("svd", 0.5))
    large = np.random.RandomState(0).randn(256, 256).astype(np.float32)
    estimator = SizeEstimator(lambda name: large, Plan((plan,)), Statistics(tmp_path))
    sizes = [estimator(delta) for delta in (0.1, 0.2, 0.4)]
    assert sizes[0] > sizes[1] > sizes[2]
    made = store_tensor(lambda name: large, plan, Statistics(tmp_path), Rounding(0.1))
    assert isinstance(made, LowRank)
    codes = [part.codes for part in made.parts().values() if isinstance(part, Grid)]
    bits = sum(code.size * entropy(code) for code in codes)
    assert sizes[0] == pytest.approx(bits / 8 + 700, rel=0.15)


def entropy(codes: np.ndarray) -> float:
    counts = np.unique(codes, return_counts=True)[1] / codes.size
    return float(-(counts * np.log2(counts)).sum())


@pytest.mark.parametrize(
    ("method", "parts"),
    [
        ("float", {"prune": HALF, "cast": "BF16"}),
        ("float", {"cast": "F16"}),
        ("float", {"low_rank": LowRankChoice("svd", 0.5, residual=True), "prune": HALF}),
        ("two_sided", {"low_rank": LowRankChoice("svd", 0.5)}),
        ("fixed", {}),
    ],
    ids=["sparse", "dense", "low_rank", "quantized", "grid"],
)
def test_spool_gives_back_every_form(method: str, parts: dict[str, object], tmp_path: Path) -> None:
    plan = tensor(method=method, **parts)
    read = reader(tmp_path, plan, values={"w": weight()})
    value = store_tensor(read, plan, Statistics(tmp_path), Rounding(0.1))
    spool = ValueSpool(tmp_path / "spool")
    spool.put(0, Dense(weight()))
    spool.put(0, value)  # type: ignore[arg-type]
    back = spool.get(0)
    assert type(back) is type(value)
    if isinstance(value, LowRank):
        assert isinstance(back, LowRank)
        assert back.parts().keys() == value.parts().keys()
    assert np.array_equal(values_of(back), values_of(value))


def values_of(value: object) -> np.ndarray:
    if isinstance(value, Grid | LowRank):
        return value.to_dense()
    assert isinstance(value, Dense | Sparse)
    return value.array
