"""SparseGPT: its compiled loop does what its definition says, and feedback along rows helps where outputs matter."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from matrices import inputs_of, statistics_of, weight_of
from tersor import _core
from tersor.prune import PruneConfig, prune_matrix
from tersor.quant import TensorStatistics
from tersor.quant.factor import inverse_row_factor

NO_FACTOR = np.zeros((0, 0), np.float32)


def gram(n: int, seed: int) -> np.ndarray:
    outputs = inputs_of(n, seed)
    return np.asarray(outputs.T @ outputs)


def two_sided(rows: int, columns: int) -> TensorStatistics:
    return replace(statistics_of(inputs_of(columns)), row_factor=inverse_row_factor(gram(rows, 7), 0.15))


def removed_by_definition(
    weight: np.ndarray, mask: np.ndarray, upper: np.ndarray, lower: np.ndarray
) -> np.ndarray:
    """The formulas of cpp/include/tersor/prune.hpp, one element at a time, in float64."""
    w = weight.astype(np.float64)
    for j in range(w.shape[1]):
        before, pending = w[:, j].copy(), w[:, j].copy()
        for i in range(len(w)):
            value = 0.0 if not mask[i, j] else pending[i]
            pending[i + 1 :] -= (pending[i] - value) / lower[i, i] * lower[i + 1 :, i]
            w[i, j] = value
        w[:, j + 1 :] -= np.outer((before - w[:, j]) / upper[j, j], upper[j, j + 1 :])
    return w


@pytest.mark.parametrize("has_row_factor", [False, True])
def test_loop_follows_the_definition(has_row_factor: bool) -> None:
    rows, columns = 70, 150
    weight, stats = weight_of(rows, columns), two_sided(rows, columns)
    assert stats.factor is not None
    assert stats.row_factor is not None
    lower = stats.row_factor if has_row_factor else np.eye(rows, dtype=np.float32)
    config = PruneConfig(0.5, options={"two_sided": has_row_factor})
    pruned = prune_matrix("sparsegpt", weight, config, stats)
    expected = removed_by_definition(weight, pruned.mask, stats.factor, lower)
    assert np.abs(pruned.weight - expected).max() < 1e-4 * np.abs(expected).max()


def test_feedback_along_rows_lowers_the_two_sided_error() -> None:
    rows, columns = 96, 128
    weight, stats = weight_of(rows, columns), two_sided(rows, columns)
    hessian, outputs = gram(columns, 1), gram(rows, 7)

    def error(is_two_sided: bool) -> float:
        config = PruneConfig(0.5, "layer", options={"two_sided": is_two_sided})
        difference = prune_matrix("sparsegpt", weight, config, stats).weight - weight
        return float(np.trace(outputs @ difference @ hessian @ difference.T))

    assert error(True) < 0.9 * error(False)


def test_columns_that_matter_less_lose_more() -> None:
    weight = np.random.RandomState(0).randn(64, 256).astype(np.float32)
    scales = np.repeat([0.1, 3.0, 0.3, 1.0], 64).astype(np.float32)
    stats = TensorStatistics(factor=np.diag(1 / scales))
    shares = prune_matrix("sparsegpt", weight, PruneConfig(0.5, "layer"), stats).mask.mean(axis=0)
    by_scale = shares.reshape(4, 64).mean(axis=1)
    assert by_scale[0] < by_scale[2] < by_scale[3] < by_scale[1]


@pytest.mark.parametrize("pattern", ["1:3", "5:7", "2:24", "63:64"])
def test_patterns_that_do_not_divide_a_block_are_kept(pattern: str) -> None:
    kept, run = map(int, pattern.split(":"))
    columns = 7 * run if run > 20 else 60 * run
    weight = weight_of(8, columns)
    stats = TensorStatistics(factor=np.eye(columns, dtype=np.float32))
    mask = prune_matrix("sparsegpt", weight, PruneConfig(pattern=pattern), stats).mask
    assert (mask.reshape(-1, run).sum(axis=1) == kept).all()


def test_mask_of_several_columns_is_chosen_at_a_time() -> None:
    weight, stats = weight_of(48, 64), two_sided(48, 64)
    masks = [
        prune_matrix(
            "sparsegpt", weight, PruneConfig(pattern="2:4", options={"select_columns": n}), stats
        ).mask
        for n in (4, 64)
    ]
    assert (masks[0] != masks[1]).any()


@pytest.mark.parametrize(
    "changed",
    [
        {"end": 129, "last": 130},  # a group too wide
        {"begin": 5, "end": 4},
        {"first": 3, "begin": 2},
        {"end": 9},
        {"last": 131, "end": 131},
        {"errors": np.zeros((4, 7), np.float32)},
        {"column_factor": np.zeros((130, 130), np.float32)},
        {"column_factor": np.eye(129, dtype=np.float32)},
        {"row_factor": np.zeros((4, 4), np.float32)},
        {"row_factor": np.eye(3, dtype=np.float32)},
        {"mask": np.ones((4, 129), np.bool_)},
        {"threads": 0},
    ],
)
def test_compiled_loop_refuses_what_does_not_fit(changed: dict[str, object]) -> None:
    arguments: dict[str, object] = {
        "weights": np.ones((4, 130), np.float32),
        "mask": np.ones((4, 130), np.bool_),
        "column_factor": np.eye(130, dtype=np.float32),
        "row_factor": NO_FACTOR,
        "first": 0,
        "last": 8,
        "begin": 0,
        "end": 4,
        "threads": 1,
    }
    arguments |= changed
    if "errors" not in arguments:
        width = int(arguments["last"]) - int(arguments["first"])  # type: ignore[call-overload]
        arguments["errors"] = np.zeros((4, width), np.float32)
    with pytest.raises(ValueError, match=r"mask|errors|remove_columns"):
        _core.remove_columns(**arguments)  # type: ignore[arg-type]
