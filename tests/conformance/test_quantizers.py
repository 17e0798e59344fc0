"""Every quantizer of the registry describes itself, is documented, keeps its contract and survives a real archive."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

import tersor
from archives import write_archive
from matrices import inputs_of, statistics_of, weight_of
from reference_reader import read_archive
from tersor.archive.reader import open_archive
from tersor.calibrate import Statistics
from tersor.errors import UnknownNameError, UsageError
from tersor.layouts.grid import Grid
from tersor.planner import Plan, TensorPlan, quantize_model
from tersor.quant import QUANTIZERS, QuantConfig, TensorStatistics
from tersor.types import TensorSpec

DOCUMENT = Path(__file__).parents[2] / "docs" / "methods.md"
NAMES = QUANTIZERS.names()
BY_OPTIONS = [name for name in NAMES if QUANTIZERS.get(name).info.budget == "options"]
every_quantizer = pytest.mark.parametrize("name", NAMES)

# Settings beside the defaults that change what is stored.
SETTINGS: dict[str, list[dict[str, Any]]] = {
    "fixed": [
        {"bits": 8, "granularity": "row"},
        {"bits": 3, "symmetric": False, "scale_dtype": "bfloat16"},
        {"bits": 5, "delta": "2^-6"},
        {"granularity": "tensor", "symmetric": False},
        {"bits": 2, "error_feedback": True, "scale_dtype": "float32"},
    ],
    "two_sided": [{"trellis": False}],
    "fp4": [{"scale": "power_of_two", "group_size": 32}],
    "codebook": [{"levels": 256}, {"levels": 2}],
    "awq": [{"symmetric": True, "bits": 8}],
    "sign": [{"group_size": 32}],
}
CASES = [(name, options) for name in NAMES for options in [{}, *SETTINGS.get(name, [])]]


def quantized(name: str, weight: np.ndarray, options: dict[str, Any]) -> Grid:
    stats = statistics_of(inputs_of(weight.shape[1]))
    return QUANTIZERS.get(name)(weight, QuantConfig(0.02, options=options), stats)


def section(name: str) -> str:
    found = re.search(rf"^## `{name}`\n(.*?)(?=^## |\Z)", DOCUMENT.read_text(), re.MULTILINE | re.DOTALL)
    assert found, f"quantizer {name!r} has no section '## `{name}`' in docs/methods.md"
    return found[1]


@every_quantizer
def test_description_is_complete(name: str) -> None:
    info = QUANTIZERS.get(name).info
    assert info.name == name
    assert info.summary
    assert info.source
    assert QUANTIZERS.get(name).__doc__
    for option in info.options.values():
        assert option.check(option.default) == ""
        assert option.help


@every_quantizer
def test_method_is_documented_with_its_options_and_source(name: str) -> None:
    text, info = section(name), QUANTIZERS.get(name).info
    for option in info.options:
        assert f"`{option}`" in text, f"docs/methods.md does not explain option {option!r} of {name!r}"
    assert "Source: " in text
    for number in re.findall(r"arXiv:\d{4}\.\d{5}", info.source):
        assert number in text or number in DOCUMENT.read_text().split("## `two_sided`")[0]


@every_quantizer
def test_method_is_listed(name: str) -> None:
    assert name in tersor.methods()["quantizers"]


@every_quantizer
def test_unknown_option_is_refused_by_name(name: str) -> None:
    known = [*QUANTIZERS.get(name).info.options, "nothing"][0]
    with pytest.raises(UsageError, match=f"method '{name}' has no option '{known}x'"):
        quantized(name, weight_of(), {f"{known}x": 1})


@pytest.mark.parametrize(("name", "options"), CASES)
@pytest.mark.parametrize("shape", [(33, 96), (1, 7), (5, 1)])
def test_archive_gives_the_same_weights_to_both_readers(
    name: str, options: dict[str, Any], shape: tuple[int, int], tmp_path: Path
) -> None:
    fits = {k: v for k, v in options.items() if k != "group_size" or shape[1] % v == 0}
    grid = quantized(name, weight_of(*shape), fits)
    path = tmp_path / "model.tersor.safetensors"
    write_archive(path, {TensorSpec("w", "F32", shape): grid})
    expected = grid.to_dense()
    with open_archive(path) as archive:
        assert np.array_equal(archive["w"], expected)
        assert np.array_equal(archive.read("w", rows=slice(0, 1)), expected[:1])
    if shape[0] == 33:
        assert np.array_equal(read_archive(path).tensors["w"], expected)


@pytest.mark.parametrize(("name", "options"), CASES)
def test_planner_carries_it_out_with_options(name: str, options: dict[str, Any]) -> None:
    weight = weight_of(64, 96)
    spec = TensorSpec("w", "F32", (64, 96))
    plan = Plan((TensorPlan(spec, name, "test", options=options),))
    ((_, grid),) = quantize_model(lambda _: weight, plan, Statistics(Path()), 0.01)
    assert isinstance(grid, Grid)
    assert np.isfinite(grid.to_dense()).all()


@pytest.mark.parametrize("name", BY_OPTIONS)
def test_step_does_not_matter_where_options_set_the_size(name: str) -> None:
    one, other = (
        QUANTIZERS.get(name)(weight_of(), QuantConfig(step), TensorStatistics()) for step in (0.01, 1.0)
    )
    assert np.array_equal(one.to_dense(), other.to_dense())


@pytest.mark.parametrize("name", BY_OPTIONS)
@pytest.mark.parametrize("exponent", [-66, 60])
def test_very_small_and_large_weights_are_kept(name: str, exponent: int) -> None:
    quantizer, stats = QUANTIZERS.get(name), statistics_of(inputs_of())
    dense, moved = (
        quantizer(np.ldexp(weight_of(), e), QuantConfig(1.0), stats).to_dense() for e in (0, exponent)
    )
    np.testing.assert_allclose(np.ldexp(moved, -exponent), dense, rtol=2e-3, atol=1e-3)


ANY_WEIGHTS = st.sampled_from([1e-45, 1e-30, 1.0, 1e30]).flatmap(
    lambda high: arrays(
        np.float32, (3, 32), elements=st.floats(-np.float32(high), np.float32(high), width=32)
    )
)


@pytest.mark.parametrize("name", BY_OPTIONS)
@given(weight=ANY_WEIGHTS)
def test_any_finite_weights_stay_finite(name: str, weight: np.ndarray) -> None:
    dense = QUANTIZERS.get(name)(weight, QuantConfig(1.0), TensorStatistics()).to_dense()
    assert np.isfinite(dense).all()
    assert np.abs(dense).max() <= 2 * np.abs(weight).max()


UNIFORM = [
    ("sign", {}, 1.0),
    ("ternary", {}, np.log2(3)),
    ("codebook", {"levels": 2}, 1.0),
    ("codebook", {"levels": 16}, 4.0),
    ("codebook", {"levels": 256}, 8.0),
    *[("fixed", {"bits": bits, "symmetric": False}, float(bits)) for bits in range(2, 9)],
    *[("fixed", {"bits": bits, "granularity": "row"}, float(bits)) for bits in (2, 5, 8)],
    ("fixed", {"bits": 4, "granularity": "tensor"}, 4.0),
    ("nf4", {}, 4.0),
    ("fp4", {}, 4.0),
    ("awq", {}, 4.0),
    ("smoothquant", {}, 8.0),
]


@pytest.mark.parametrize(("name", "options", "bits"), UNIFORM)
def test_uniform_weights_cost_at_most_the_width_of_a_code(
    name: str, options: dict[str, Any], bits: float, tmp_path: Path
) -> None:
    weight = np.random.RandomState(0).uniform(-1, 1, (512, 512)).astype(np.float32)
    grid = QUANTIZERS.get(name)(weight, QuantConfig(1.0, options=options), TensorStatistics())
    path = tmp_path / "w.safetensors"
    write_archive(path, {TensorSpec("w", "F32", weight.shape): grid})
    scales = 0 if grid.group_scales is None else grid.group_scales.nbytes
    zeros = 0 if grid.zero_points is None or not grid.zero_points.any() else grid.zero_points.size
    tables = 1500 + (0 if grid.codebook is None else grid.codebook.nbytes)
    assert 8 * (path.stat().st_size - scales - zeros - tables) / weight.size <= bits + 0.02


def test_unknown_method_names_the_nearest() -> None:
    with pytest.raises(UnknownNameError, match="did you mean 'smoothquant'"):
        QUANTIZERS.get("smoothqant")
