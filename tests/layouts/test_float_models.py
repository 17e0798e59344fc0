"""Models of level max: the same for any number of threads; which symbols of their tables are coded."""

from __future__ import annotations

import ml_dtypes
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from tersor.layouts.float_models import FloatModels
from tersor.layouts.float_runs import coded_runs
from tersor.types import TensorSpec


def tensors() -> list[tuple[TensorSpec, np.ndarray]]:
    rng = np.random.default_rng(0)
    arrays = {
        "a": rng.standard_normal((300, 64)),
        "b": rng.standard_normal((40, 96)) * 2.0 ** rng.integers(-3, 3, 96),
        "c": np.abs(rng.standard_normal((700, 32))),
    }
    return [
        (TensorSpec(name, "BF16", array.shape), array.astype(ml_dtypes.bfloat16))
        for name, array in arrays.items()
    ]


def fitted(threads: int) -> FloatModels:
    with FloatModels(threads) as models:
        for spec, array in tensors():
            assert models.suits(spec)
            models.fit(spec, array)
        costs = models.begin_refinement()
        for spec, array in tensors():
            models.refine(spec, array, costs)
        models.finish()
        return models


def test_models_and_counts_do_not_depend_on_threads() -> None:
    one, two = fitted(1), fitted(2)
    assert one.models.keys() == two.models.keys()
    np.testing.assert_array_equal(one.counts, two.counts)
    for name, model in one.models.items():
        for values in ("row_class", "row_profile", "column_scale", "column_shape"):
            np.testing.assert_array_equal(getattr(model, values), getattr(two.models[name], values))
    assert one.counts.sum() == sum(array.size for _, array in tensors())


@pytest.mark.parametrize("shape", [(1, 100), (100, 3)])
def test_vectors_and_narrow_matrices_get_no_model(shape: tuple[int, ...]) -> None:
    assert not FloatModels().suits(TensorSpec("v", "BF16", shape))


def test_pause_comes_while_a_large_tensor_is_read() -> None:
    pauses: list[int] = []
    array = np.random.default_rng(0).standard_normal((9000, 1024)).astype(np.float16)
    FloatModels().fit(TensorSpec("w", "F16", array.shape), array, lambda: pauses.append(1))
    n_walks, n_pauses_each = 4, array.nbytes // (1 << 23)  # rows, probe, columns, counts
    assert len(pauses) >= (n_walks - 1) * n_pauses_each


def test_error_of_a_pause_is_raised() -> None:
    def fail() -> None:
        raise OSError("no more")

    array = np.ones((9000, 1024), np.float16)
    with FloatModels(2) as models:
        models.fit(TensorSpec("w", "F16", array.shape), array, fail)
        with pytest.raises(OSError, match="no more"):
            models.finish()


@given(counts=hnp.arrays(np.uint64, (3, 128), elements=st.integers(0, 1 << 30)))
def test_coded_symbols_are_one_run_of_fields_with_both_signs(counts: np.ndarray) -> None:
    runs = coded_runs(counts)
    np.testing.assert_array_equal(runs.sum(axis=1) // 4, counts.sum(axis=1) + _unseen(runs) // 4)
    for table in runs:
        signs = table.reshape(2, 64) > 0
        signs[:, :4] = False
        np.testing.assert_array_equal(signs[0], signs[1])
        coded = np.flatnonzero(signs[0])
        assert len(coded) == 0 or coded[-1] - coded[0] + 1 == len(coded)
        assert table[0] > 0
        assert not table[1:4].any()
        assert not table[64:68].any()


def _unseen(runs: np.ndarray) -> np.ndarray:
    """What was added to the counts, which are multiples of 4."""
    return (runs % 4).sum(axis=1)
