"""Every pruner of the registry keeps its contract."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from matrices import inputs_of, output_error, statistics_of, weight_of
from tersor.errors import NonFiniteError, ShapeError, UnknownNameError, UsageError
from tersor.prune import PRUNERS, PruneConfig, prune_matrix
from tersor.quant import TensorStatistics
from tersor.quant.factor import inverse_row_factor

every_pruner = pytest.mark.parametrize("name", PRUNERS.names())
CONFIGS = [
    PruneConfig(0.5),
    PruneConfig(0.3, "layer"),
    PruneConfig(scope="global", threshold=0.02),
    PruneConfig(pattern="2:4"),
    PruneConfig(0.875, pattern="1:8"),
    PruneConfig(0.0),
    PruneConfig(1.0, "layer"),
]


def statistics(rows: int = 48, columns: int = 64) -> TensorStatistics:
    """Those of inputs and of outputs."""
    outputs = inputs_of(rows, seed=5)
    return replace(
        statistics_of(inputs_of(columns)), row_factor=inverse_row_factor(outputs.T @ outputs, 0.15)
    )


@every_pruner
@pytest.mark.parametrize("config", CONFIGS, ids=str)
def test_removed_places_hold_positive_zero_and_the_mask_says_which(name: str, config: PruneConfig) -> None:
    weight = weight_of()
    before = weight.copy()
    pruned = prune_matrix(name, weight, config, statistics())
    assert np.array_equal(weight, before)
    assert pruned.weight.dtype == np.float32
    assert pruned.mask.dtype == np.bool_
    assert pruned.weight.shape == pruned.mask.shape == weight.shape
    assert not pruned.weight[~pruned.mask].view(np.uint32).any()
    if not PRUNERS.get(name).info.moves_weights:
        assert np.array_equal(pruned.weight[pruned.mask], weight[pruned.mask])


@every_pruner
@pytest.mark.parametrize("scope", ["row", "layer"])
@pytest.mark.parametrize("share", [0.1, 0.5, 0.77])
def test_share_is_met_exactly(name: str, scope: Any, share: float) -> None:
    pruned = prune_matrix(name, weight_of(), PruneConfig(share, scope), statistics())
    mask = pruned.mask
    if scope == "row":
        assert ((~mask).sum(axis=1) == round(share * mask.shape[1])).all()
    else:
        assert (~mask).sum() == round(share * mask.size)
    assert pruned.sparsity == pytest.approx(1 - mask.mean())


@every_pruner
def test_pattern_keeps_exactly_two_of_every_four(name: str) -> None:
    mask = prune_matrix(name, weight_of(), PruneConfig(pattern="2:4"), statistics()).mask
    assert (mask.reshape(-1, 4).sum(axis=1) == 2).all()


@every_pruner
def test_result_does_not_depend_on_threads(name: str) -> None:
    weight = weight_of(100, 300)
    results = [
        prune_matrix(name, weight, PruneConfig(0.5, threads=threads), statistics(100, 300))
        for threads in (1, 3)
    ]
    assert results[0].weight.tobytes() == results[1].weight.tobytes()


@every_pruner
def test_scores_are_not_negative_and_of_the_weights_shape(name: str) -> None:
    scores = PRUNERS.get(name).score(weight_of(), statistics())
    assert scores.dtype == np.float32
    assert scores.shape == (48, 64)
    assert (scores >= 0).all()


@every_pruner
@pytest.mark.parametrize("scope", ["row", "layer"])
@pytest.mark.parametrize("shape", [(0, 8), (8, 0), (1, 8), (8, 1)])
def test_matrices_of_any_size(name: str, shape: tuple[int, int], scope: Any) -> None:
    eye = np.eye(shape[1], dtype=np.float32)
    stats = TensorStatistics(factor=eye, hessian=eye)
    assert prune_matrix(name, np.ones(shape, np.float32), PruneConfig(0.5, scope), stats).mask.shape == shape


@every_pruner
def test_wrong_arguments_are_refused(name: str) -> None:
    config, stats = PruneConfig(0.5), statistics()
    with pytest.raises(ShapeError, match="pruners take matrices"):
        prune_matrix(name, np.ones(4, np.float32), config, stats)
    with pytest.raises(NonFiniteError, match="1 NaN or infinite"):
        prune_matrix(name, np.array([[1.0, np.inf]], np.float32), config, stats)
    with pytest.raises(ShapeError, match="columns=63 is not a multiple of 4"):
        prune_matrix(name, weight_of(48, 63), PruneConfig(pattern="2:4"), statistics(48, 63))
    with pytest.raises(UsageError, match="has no option 'sparsty'"):
        prune_matrix(name, weight_of(), replace(config, options={"sparsty": 1}), stats)


@pytest.mark.parametrize("name", ["wanda", "sparsegpt"])
def test_statistics_are_required_and_must_fit(name: str) -> None:
    with pytest.raises(UsageError, match="calibrate first, or use magnitude"):
        prune_matrix(name, weight_of(), PruneConfig(0.5), TensorStatistics())
    with pytest.raises(ShapeError, match="a weight of shape"):
        prune_matrix(name, weight_of(48, 32), PruneConfig(0.5), statistics())


def test_unknown_pruner_names_the_nearest() -> None:
    with pytest.raises(UnknownNameError, match="did you mean 'sparsegpt'"):
        prune_matrix("sparse_gpt", weight_of(), PruneConfig(0.5), statistics())


def test_each_method_errs_less_than_the_simpler_one() -> None:
    weight, inputs = weight_of(96, 128), inputs_of(128)
    stats = statistics_of(inputs)
    errors = [
        output_error(prune_matrix(name, weight, PruneConfig(0.5), stats).weight, weight, inputs)
        for name in ("magnitude", "wanda", "sparsegpt")
    ]
    assert errors[2] < errors[1] < errors[0]
    assert errors[2] < 0.5 * errors[0]
