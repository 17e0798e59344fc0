"""The low-rank form in memory: what fits together, and its product."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from archives import bf16, random_grid
from low_rank_archives import floats, small_low_rank
from tersor import _core
from tersor.errors import CorruptError, NewerFormatError, NonFiniteError, ShapeError, UsageError
from tersor.layouts import Context, Dense, LowRank, make_layout
from tersor.layouts.low_rank import Factors, LowRankMeta, part_values, stored_matrix
from tersor.types import TensorSpec


def in_order(left: np.ndarray, right: np.ndarray) -> np.ndarray:
    """The sums of the document: one rounding after each operation."""
    total = np.zeros((len(left), right.shape[1]), np.float32)
    for column, row in zip(left.T, right, strict=True):
        total = total + column[:, None] * row
    return total


@given(rows=st.integers(0, 9), rank=st.integers(0, 7), columns=st.integers(0, 70), seed=st.integers(0, 9))
def test_product_has_the_bits_of_the_document(rows: int, rank: int, columns: int, seed: int) -> None:
    left, right = floats(rows, rank, seed=seed), floats(rank, columns, seed=seed + 1)
    found = np.full((rows, columns), np.nan, np.float32)
    _core.multiply_factors(left, right, found)
    assert found.tobytes() == in_order(left, right).tobytes()


@pytest.mark.parametrize(
    ("left", "right", "out", "message"),
    [((2, 3), (4, 5), (2, 5), "rank of the factors"), ((2, 3), (3, 5), (5, 2), "shape of the product")],
)
def test_product_refuses_what_does_not_fit(left, right, out, message: str) -> None:
    arrays = [np.zeros(shape, np.float32) for shape in (left, right, out)]
    with pytest.raises(ValueError, match=message):
        _core.multiply_factors(*arrays)


def test_parts_may_be_of_any_form() -> None:
    left, right = random_grid(12, 3), bf16(floats(3, 20))
    stored = LowRank(left, Dense(right), Dense(floats(12, 20).astype(np.float16)))
    expected = in_order(left.to_dense(), right.astype(np.float32)) + part_values(stored.residual)
    assert np.array_equal(stored.to_dense(), expected)
    assert (stored.shape, stored.rank) == ((12, 20), 3)
    dtypes = [spec.dtype for spec in stored.part_specs("w").values()]
    assert dtypes == ["F32", "BF16", "F16"]


def test_pivots_are_rows_of_the_right_factor() -> None:
    stored = small_low_rank(4, pivots=True, residual=False)
    dense, right = stored.to_dense(), part_values(stored.right)
    assert np.array_equal(dense[[0, 3, 6, 9]], right)
    others = np.setdiff1d(np.arange(12), [0, 3, 6, 9])
    assert np.array_equal(dense[others], in_order(part_values(stored.left), right))
    factors = Factors(part_values(stored.left), right, None, False, stored.pivots)
    np.testing.assert_allclose(factors.whole_left() @ right, dense, atol=1e-6)


@pytest.mark.parametrize(
    ("change", "error", "message"),
    [
        ({"left": Dense(floats(12, 4))}, ShapeError, "equal ranks"),
        ({"left": Dense(floats(12, 0)), "right": Dense(floats(0, 20))}, ShapeError, "at least 1"),
        ({"left": Dense(floats(12))}, ShapeError, "two dimensions"),
        ({"residual": Dense(floats(12, 19))}, ShapeError, r"needs \[12, 20\]"),
        ({"left": Dense(floats(12, 3).astype(np.float64))}, UsageError, "'left' is float64"),
        ({"left": random_grid(12, 3, transposed=True)}, UsageError, "transposed grid"),
        ({"right": Dense(np.full((3, 20), np.inf, np.float32))}, NonFiniteError, "'right' holds NaN"),
        ({"pivots": np.array([0, 1])}, ShapeError, "3 rising numbers"),
        ({"pivots": np.array([0, 2, 2])}, ShapeError, "3 rising numbers"),
        ({"pivots": np.array([0, 2, 15])}, ShapeError, "rising numbers below 15"),
        ({"pivots": np.array([-1, 2, 3])}, ShapeError, "rising numbers"),
    ],
)
def test_what_does_not_fit_is_refused(change, error: type[Exception], message: str) -> None:
    with pytest.raises(error, match=message):
        replace(small_low_rank(), **change)


@pytest.mark.parametrize(
    ("dtype", "shape", "transposed", "matrix"),
    [
        ("F32", (12, 20), False, (12, 20)),
        ("BF16", (12, 20), True, (20, 12)),
        ("F64", (2, 3, 4), False, (6, 4)),
        ("F16", (2, 3, 4), True, (8, 3)),
        ("F32", (7,), False, (1, 7)),
    ],
)
def test_product_is_the_matrix_of_the_tensor(dtype, shape, transposed: bool, matrix) -> None:
    assert stored_matrix(TensorSpec("w", dtype, shape), transposed) == matrix


@pytest.mark.parametrize(
    ("dtype", "shape", "transposed"), [("I8", (3, 4), False), ("F32", (3,), True), ("F32", (), False)]
)
def test_tensor_that_cannot_be_low_rank_is_refused(dtype, shape, transposed: bool) -> None:
    with pytest.raises(ShapeError, match="cannot be low-rank"):
        stored_matrix(TensorSpec("w", dtype, shape), transposed)


@pytest.mark.parametrize(
    "meta",
    [None, [], [0, 1, 2, None], [0, 1, None, None, None], [0, -1, 2, None, None], [True, 1, 2, None, None],
     [0, 1, 2, 0.5, None], [0, 1, 2, 3, "x"], {"a": 1}],
)  # fmt: skip
def test_damaged_meta_is_corrupt(meta: object) -> None:
    with pytest.raises(CorruptError, match="needs \\[flags, left, right, residual, pivots\\]"):
        LowRankMeta.parse(meta)


def test_unknown_flag_needs_a_newer_tersor_and_further_elements_are_ignored() -> None:
    meta = LowRankMeta.parse([2, 1, 2, None, None, "later"])
    with pytest.raises(NewerFormatError, match="flags 0x2"):
        _ = meta.transposed


@pytest.mark.parametrize("pivots", [b"\x07", b"\x07\x00\x00", b"\x07\x10", b"\x03\x00", b"\x0f\x00"])
def test_pivots_must_be_as_many_as_the_rank_and_inside_the_rows(pivots: bytes) -> None:
    assert LowRankMeta(0, 1, 2, None, b"\x07\x00").pivot(12, 3).nonzero()[0].tolist() == [0, 1, 2]
    with pytest.raises(CorruptError, match="needs 3 of 12"):
        LowRankMeta(0, 1, 2, None, pivots).pivot(12, 3)


def test_layout_encodes_nothing_else_and_has_no_blocks() -> None:
    layout, spec = make_layout("low_rank/1"), TensorSpec("w", "F32", (12, 20))
    with pytest.raises(UsageError, match="encodes LowRank, got Dense"):
        layout.encode(spec, Dense(floats(12, 20)), Context())
    with pytest.raises(CorruptError, match="no blocks of its own"):
        layout.decoder(spec, None, memoryview(b""), 0, Context())
    with pytest.raises(ShapeError, match=r"product of \[12, 20\]; F32 \[12, 19\] needs \[12, 19\]"):
        layout.encode(TensorSpec("w", "F32", (12, 19)), small_low_rank(), Context())
