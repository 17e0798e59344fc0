"""The leading quantizer: what each part of it adds, and that any part may be missing."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from tersor.errors import ShapeError, UsageError
from tersor.layouts.grid import Grid
from tersor.planner.rate import RateMeter
from tersor.quant import QUANTIZERS, QuantConfig, TensorStatistics
from tersor.quant.code_lengths import CodeLengths, fitted_lengths, prior_lengths
from tersor.quant.factor import inverse_factor
from tersor.quant.two_sided import quantize_two_sided

ROWS, COLUMNS = 96, 80
SCALAR = {"trellis": False}


def weight_of(seed: int = 0, rows: int = ROWS) -> np.ndarray:
    return np.random.RandomState(seed).randn(rows, COLUMNS).astype(np.float32)


def hessian_of(n: int, seed: int) -> np.ndarray:
    random = np.random.RandomState(seed)
    mixing = random.randn(n, n) / n**0.5 + np.eye(n)
    inputs = (random.randn(4 * n, n) * np.geomspace(0.3, 3, n)) @ mixing
    return inputs.T @ inputs / np.square(inputs).sum() * n


INPUT_HESSIAN, OUTPUT_HESSIAN = hessian_of(COLUMNS, 1), hessian_of(ROWS, 2)


def row_factor_of(hessian: np.ndarray) -> np.ndarray:
    return np.linalg.cholesky(np.linalg.inv(hessian + 0.1 * np.eye(len(hessian)))).astype(np.float32)


STATISTICS = TensorStatistics(
    factor=inverse_factor(INPUT_HESSIAN, 0.01), row_factor=row_factor_of(OUTPUT_HESSIAN)
)


def bits_per_weight(grid: Grid) -> float:
    meter = RateMeter()
    for _ in range(50):  # so that the tables do not count
        meter.add(grid, 1.0)
    return meter.n_bytes() * 8 / 50 / grid.codes.size


def model_error(grid: Grid, weight: np.ndarray) -> float:
    """tr(G D H D') over the number of weights: what the feedback is there to keep small."""
    error = grid.to_dense().astype(np.float64) - weight
    return float(np.einsum("ij,ij->", OUTPUT_HESSIAN @ error, error @ INPUT_HESSIAN)) / weight.size


def excess_db(stats: TensorStatistics, step: float, **options: bool) -> float:
    """10 log10 of error * 4^bits: an error that does not depend on the rate at which it was measured."""
    weight = weight_of()
    grid = quantize_two_sided(weight, QuantConfig(step, options=options), stats)
    return 10 * float(np.log10(model_error(grid, weight) * 4 ** bits_per_weight(grid)))


def test_row_feedback_lowers_the_error_at_equal_rate() -> None:
    one_sided = replace(STATISTICS, row_factor=None)
    assert excess_db(STATISTICS, 0.3, trellis=False) < excess_db(one_sided, 0.3, trellis=False) - 1.0


def test_trellis_lowers_the_error_at_equal_rate() -> None:
    assert excess_db(STATISTICS, 0.3) < excess_db(STATISTICS, 0.3, **SCALAR) - 0.4


def test_equal_steps_make_about_equal_errors_with_and_without_trellis() -> None:
    weight = weight_of()
    errors = [
        model_error(quantize_two_sided(weight, QuantConfig(0.3, options={"trellis": on}), STATISTICS), weight)
        for on in (True, False)
    ]
    assert errors[0] == pytest.approx(errors[1], rel=0.25)


def test_scalar_codes_equal_the_definition() -> None:
    weight = weight_of(rows=ROWS)
    config = QuantConfig(0.3, 0.0, options=SCALAR)
    grid = quantize_two_sided(weight, config, STATISTICS)
    assert np.mean(grid.codes == by_definition(weight, grid, STATISTICS)) > 0.999  # near-ties may differ


def by_definition(weight: np.ndarray, grid: Grid, stats: TensorStatistics) -> np.ndarray:
    assert stats.factor is not None
    assert stats.row_factor is not None
    upper, lower = stats.factor.astype(np.float64), stats.row_factor.astype(np.float64)
    steps = 2.0 ** (np.add.outer(grid.row_exponents, grid.column_exponents) / 4.0)
    values, codes = weight.astype(np.float64), np.zeros(weight.shape)
    for j in range(weight.shape[1]):
        column = values[:, j].copy()
        for i in range(len(weight)):
            codes[i, j] = np.rint(column[i] / steps[i, j])
            error = (column[i] - codes[i, j] * steps[i, j]) / lower[i, i]
            column[i + 1 :] -= error * lower[i + 1 :, i]
        errors = (values[:, j] - codes[:, j] * steps[:, j]) / upper[j, j]
        values[:, j + 1 :] -= np.outer(errors, upper[j, j + 1 :])
    return codes


@pytest.mark.parametrize("missing", [(), ("factor",), ("row_factor",), ("factor", "row_factor")])
@pytest.mark.parametrize("trellis", [True, False])
def test_any_part_of_the_statistics_may_be_missing(missing: tuple[str, ...], trellis: bool) -> None:
    stats = replace(STATISTICS, **dict.fromkeys(missing))
    weight = weight_of(rows=ROWS)
    config = QuantConfig(0.05, options={"trellis": trellis})
    grid = quantize_two_sided(weight, config, stats)
    assert np.square(grid.to_dense() - weight).mean() < 0.02
    assert bool(grid.trellis_rows) == trellis


def test_a_diagonal_row_factor_sets_steps_and_feeds_nothing() -> None:
    scales = np.geomspace(0.5, 2, ROWS)
    diagonal = replace(STATISTICS, row_factor=np.diag(scales).astype(np.float32))
    weighted = TensorStatistics(STATISTICS.factor, row_weights=scales**-2.0)
    config = QuantConfig(0.3, 0.1)
    grids = [quantize_two_sided(weight_of(), config, stats) for stats in (diagonal, weighted)]
    assert np.array_equal(grids[0].row_exponents, grids[1].row_exponents)
    assert np.array_equal(grids[0].codes, grids[1].codes)


def test_rate_weight_saves_bits() -> None:
    plain, thrifty = (
        quantize_two_sided(weight_of(), QuantConfig(0.6, rate_weight), STATISTICS)
        for rate_weight in (0.0, 0.3)
    )
    assert bits_per_weight(thrifty) < bits_per_weight(plain) - 0.02


def test_code_lengths_steer_the_codes() -> None:
    bits = prior_lengths(2).bits.copy()
    bits[:, :, 1:] += 100.0
    config = QuantConfig(0.3, code_lengths=CodeLengths(bits))
    grid = quantize_two_sided(weight_of(), config, STATISTICS)
    usual = quantize_two_sided(weight_of(), QuantConfig(0.3), STATISTICS)
    assert np.count_nonzero(grid.codes) < 0.8 * np.count_nonzero(usual.codes)


def test_lengths_of_another_kind_of_codes_are_not_used() -> None:
    config = QuantConfig(0.3, options=SCALAR)
    plain = quantize_two_sided(weight_of(), config, STATISTICS)
    same = quantize_two_sided(weight_of(), replace(config, code_lengths=prior_lengths(2)), STATISTICS)
    assert np.array_equal(plain.codes, same.codes)


def test_wide_matrices_restart_the_trellis_sooner() -> None:
    narrow, wide = (np.zeros((2, columns), np.float32) for columns in (512, 513))
    config, nothing = QuantConfig(1.0), TensorStatistics()
    assert quantize_two_sided(narrow, config, nothing).trellis_rows == 256
    assert quantize_two_sided(wide, config, nothing).trellis_rows == 128


def test_unknown_option_names_the_nearest() -> None:
    with pytest.raises(UsageError, match="no option 'treillis'; did you mean 'trellis'"):
        quantize_two_sided(weight_of(), QuantConfig(0.3, options={"treillis": True}), STATISTICS)
    with pytest.raises(UsageError, match="option trellis=1 needs true or false"):
        quantize_two_sided(weight_of(), QuantConfig(0.3, options={"trellis": 1}), STATISTICS)


def test_row_factor_of_the_wrong_shape_is_named() -> None:
    with pytest.raises(ShapeError, match=r"row_factor has shape \(96, 96\), .* needs \(5, 5\)"):
        quantize_two_sided(weight_of(rows=5), QuantConfig(0.3), STATISTICS)


def test_it_is_registered_with_its_description() -> None:
    info = QUANTIZERS.get("two_sided").info
    assert (info.name, info.budget, info.needs) == ("two_sided", "step", frozenset())


def test_fitted_lengths_follow_the_counts_and_keep_the_unseen_finite() -> None:
    prior = prior_lengths(2)
    counts = np.zeros(prior.bits.shape)
    counts[0, 64, 0], counts[0, 64, 1] = 3e6, 1e6
    lengths = fitted_lengths(counts)
    assert lengths.bits[0, 64, 0] == pytest.approx(np.log2(4 / 3), abs=1e-3)
    assert lengths.bits[0, 64, 1] == pytest.approx(3.0, abs=1e-3)  # its sign costs a bit
    assert np.isfinite(lengths.bits).all()
    assert lengths.bits[1] == pytest.approx(prior.bits[1], abs=1e-4)


def test_prior_lengths_are_those_of_a_code() -> None:
    for halves in (1, 2):
        shares = np.exp2(-prior_lengths(halves).bits.astype(np.float64))
        assert (shares[:, :, 0] + 2 * shares[:, :, 1:].sum(axis=2)) == pytest.approx(1.0, abs=1e-4)
