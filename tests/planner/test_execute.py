from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from transformers import AutoModelForCausalLM

from models import VOCAB_SIZE, tiny_gpt2
from tersor.calibrate import CalibrationText, Statistics, collect, parameter_roles
from tersor.errors import NonFiniteError
from tersor.layouts.base import Alias, Dense
from tersor.layouts.grid import Grid
from tersor.planner import estimate_bytes, make_plan, quantize_model
from tersor.planner.rate import RateMeter
from tersor.types import TensorSpec


@pytest.fixture(scope="module")
def job(tmp_path_factory: pytest.TempPathFactory):
    """A small GPT-2: (read, plan, statistics); one integer tensor and one alias beside its parameters."""
    folder = tmp_path_factory.mktemp("job")
    model = AutoModelForCausalLM.from_pretrained(tiny_gpt2(folder / "model", hidden=64))
    random = np.random.RandomState(0)
    text = CalibrationText(
        tuple(tuple(map(int, random.randint(5, VOCAB_SIZE, 40))) for _ in range(20)), "random"
    )
    (folder / "spool").mkdir()
    statistics = collect(model, text, folder / "spool")
    arrays = {name: parameter.detach().numpy() for name, parameter in model.named_parameters()}
    arrays |= {"ids": np.arange(6), "lm_head.weight": arrays["transformer.wte.weight"]}
    specs = [TensorSpec(n, "I64" if n == "ids" else "F32", array.shape) for n, array in arrays.items()]
    plan = make_plan(specs, parameter_roles(model), aliases={"lm_head.weight": "transformer.wte.weight"})
    return arrays.__getitem__, plan, statistics


def test_every_tensor_comes_in_order_with_its_layout(job) -> None:
    read, plan, statistics = job
    found = list(quantize_model(read, plan, statistics, 0.3))
    assert [tensor for tensor, _ in found] == list(plan.tensors)
    for tensor, value in found:
        assert isinstance(value, {"keep": Dense, "alias": Alias}.get(tensor.method, Grid))


def test_dense_tensors_approximate_the_originals(job) -> None:
    read, plan, statistics = job
    for tensor, grid in quantize_model(read, plan, statistics, 0.02):
        if isinstance(grid, Grid):
            assert grid.shape == tensor.matrix_shape
            dense = grid.to_dense().T if grid.transposed else grid.to_dense()
            original = read(tensor.spec.name)
            error = np.square(dense.reshape(original.shape) - original).sum()
            assert error <= 0.01 * np.square(original).sum(), tensor.spec.name


def test_conv1d_weights_are_transposed(job) -> None:
    read, plan, statistics = job
    transposed = {
        t.spec.name
        for t, g in quantize_model(read, plan, statistics, 0.3)
        if isinstance(g, Grid) and g.transposed
    }
    assert "transformer.h.0.attn.c_attn.weight" in transposed
    assert "transformer.wte.weight" not in transposed


def test_estimate_of_all_rows_is_the_entropy_of_the_codes(job) -> None:
    read, plan, statistics = job
    meter = RateMeter()
    for _, grid in quantize_model(read, plan, statistics, 0.3):
        if isinstance(grid, Grid):
            meter.add(grid, 1.0)
    estimate = estimate_bytes(read, plan, statistics, 0.3)
    assert meter.n_bytes() < estimate < 1.1 * meter.n_bytes() + 2500


def test_sample_of_rows_estimates_the_whole(job) -> None:
    read, plan, statistics = job
    whole = estimate_bytes(read, plan, statistics, 0.1)
    assert estimate_bytes(read, plan, statistics, 0.1, sample_elements=1000) == pytest.approx(whole, rel=0.1)


def test_finer_steps_take_more_bytes(job) -> None:
    read, plan, statistics = job
    sizes = [estimate_bytes(read, plan, statistics, delta) for delta in (1.0, 0.5, 0.25, 0.125)]
    assert sizes == sorted(sizes)


def test_unmeasured_tensors_are_quantized_too(job) -> None:
    read, plan, _ = job
    found = list(quantize_model(read, plan, Statistics(Path()), 0.01))
    assert sum(isinstance(grid, Grid) for _, grid in found) == sum(t.is_quantized for t in plan.tensors)


def test_error_names_the_tensor(job) -> None:
    read, plan, statistics = job
    name = "transformer.h.0.mlp.c_fc.weight"
    broken = np.full_like(read(name), np.inf)
    with pytest.raises(NonFiniteError, match=f"tensor '{name}': .* NaN or infinite"):
        list(quantize_model(lambda n: broken if n == name else read(n), plan, statistics, 0.3))
