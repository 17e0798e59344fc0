"""The regression behind drift correction."""

from __future__ import annotations

import torch

from tersor.calibrate.workers import OrderedWorkers
from tersor.recovery.correction import DriftSums, correction, mean_error
from tersor.recovery.stages import Point

STREAM = Point("", "input")
N_TOKENS, WIDTH, ROWS = 400, 6, 5


def sums_of(
    original: torch.Tensor,
    quantized: torch.Tensor,
    residual_drift: torch.Tensor | None = None,
    n_threads: int = 1,
) -> DriftSums:
    sums = DriftSums.zeros(WIDTH)
    with OrderedWorkers(n_threads, 1 << 20) as workers:
        for part in range(0, N_TOKENS, 100):
            tokens = slice(part, part + 100)
            drift = {} if residual_drift is None else {STREAM: residual_drift[tokens]}
            sums.add(workers, quantized[tokens], original[tokens], drift)
        workers.finish()
    return sums


def random_case() -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """(weight, inputs of the quantized model, inputs of the original: an affine map of those)."""
    generator = torch.Generator().manual_seed(0)
    quantized = torch.randn(N_TOKENS, WIDTH, generator=generator)
    mixing = torch.eye(WIDTH) + 0.2 * torch.randn(WIDTH, WIDTH, generator=generator)
    weight = torch.randn(ROWS, WIDTH, generator=generator)
    return weight, quantized, quantized @ mixing + 0.3


def test_without_damping_a_linear_drift_is_undone() -> None:
    weight, quantized, original = random_case()
    sums = sums_of(original, quantized)
    changed = weight + correction(sums, sums.solver(1e-9), weight, None, share=1.0)
    error = original @ weight.T - quantized @ changed.T
    assert torch.allclose(error, error.mean(dim=0).expand_as(error), atol=1e-4)
    assert torch.allclose(mean_error(sums, weight, changed, None), error.mean(dim=0), atol=1e-4)


def test_drift_of_the_residual_stream_is_made_up_for() -> None:
    weight, quantized, original = random_case()
    stream = quantized @ torch.ones(WIDTH, ROWS) * 0.1 + 1.0
    sums = sums_of(original, quantized, stream)
    changed = weight + correction(sums, sums.solver(1e-9), weight, STREAM, share=1.0)
    error = original @ weight.T + stream - quantized @ changed.T
    assert torch.allclose(error, error.mean(dim=0).expand_as(error), atol=1e-4)
    assert torch.allclose(mean_error(sums, weight, changed, STREAM), error.mean(dim=0), atol=1e-4)


def test_without_drift_nothing_changes() -> None:
    weight, quantized, _ = random_case()
    sums = sums_of(quantized, quantized)
    assert torch.equal(correction(sums, sums.solver(), weight, None), torch.zeros(ROWS, WIDTH))
    assert torch.equal(mean_error(sums, weight, weight, None), torch.zeros(ROWS))


def test_inputs_of_zeros_have_a_solution() -> None:
    weight, quantized, original = random_case()
    sums = sums_of(original, torch.zeros_like(quantized))
    found = correction(sums, sums.solver(), weight, None)
    assert torch.equal(found, torch.zeros(ROWS, WIDTH))


def test_sums_are_the_same_bits_for_any_number_of_threads() -> None:
    _, quantized, original = random_case()
    one, three = (sums_of(original, quantized, original, n_threads) for n_threads in (1, 3))
    assert torch.equal(one.second, three.second)
    assert torch.equal(one.drift, three.drift)
    assert torch.equal(one.residual[STREAM], three.residual[STREAM])
