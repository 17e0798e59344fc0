"""Every factorizer of the registry describes itself, is documented, keeps its contract and survives a real archive."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import pytest

import tersor
from archives import write_archive
from matrices import inputs_of, statistics_of, weight_of
from reference_reader import read_archive
from tersor.archive.reader import open_archive
from tersor.errors import UnknownNameError, UsageError
from tersor.layouts import LowRank
from tersor.lowrank import FACTORIZERS, cast_low_rank, factorize, quantize_low_rank
from tersor.quant import QUANTIZERS, QuantConfig, TensorStatistics
from tersor.types import TensorSpec

DOCUMENT = Path(__file__).parents[2] / "docs" / "methods.md"
every_factorizer = pytest.mark.parametrize("name", FACTORIZERS.names())
STATS = statistics_of(inputs_of(64))


@every_factorizer
def test_description_is_complete(name: str) -> None:
    info = FACTORIZERS.get(name).info
    assert info.name == name
    assert info.summary
    assert info.source
    assert FACTORIZERS.get(name).__doc__
    assert info.fallback in FACTORIZERS.names()
    assert all(option.check(option.default) == "" and option.help for option in info.options.values())


@every_factorizer
def test_method_is_documented_with_its_options_and_source(name: str) -> None:
    found = re.search(rf"^## `{name}`\n(.*?)(?=^##? |\Z)", DOCUMENT.read_text(), re.MULTILINE | re.DOTALL)
    assert found, f"factorizer {name!r} has no section '## `{name}`' in docs/methods.md"
    info = FACTORIZERS.get(name).info
    assert all(f"`{option}`" in found[1] for option in info.options)
    assert "Source: " in found[1]
    for number in re.findall(r"arXiv:\d{4}\.\d{5}", info.source):
        assert number in found[1]


@every_factorizer
def test_method_is_listed(name: str) -> None:
    assert name in tersor.methods()["lowrank"]


@every_factorizer
def test_unknown_option_is_refused_by_name(name: str) -> None:
    with pytest.raises(UsageError, match=f"method '{name}' has no option 'rnak'"):
        factorize(name, weight_of(), 3, STATS, {"rnak": 1})


@every_factorizer
@pytest.mark.parametrize("shape", [(48, 64), (1, 64), (80, 64)])
def test_factors_fit_the_weight_which_is_not_modified(name: str, shape: tuple[int, int]) -> None:
    weight = weight_of(*shape)
    before = weight.copy()
    left, right = factorize(name, weight, 1, STATS)
    assert (left.shape, right.shape) == ((shape[0], 1), (1, 64))
    assert left.dtype == right.dtype == np.float32
    assert left.flags.c_contiguous
    assert right.flags.c_contiguous
    assert np.array_equal(weight, before)


@every_factorizer
def test_equal_arguments_give_equal_factors(name: str) -> None:
    first, second = (factorize(name, weight_of(), 9, STATS) for _ in range(2))
    assert all(np.array_equal(*pair) for pair in zip(first, second, strict=True))


@every_factorizer
@pytest.mark.parametrize("residual", [False, True])
def test_archive_gives_the_same_weights_to_both_readers(name: str, residual: bool, tmp_path: Path) -> None:
    weight = weight_of(33, 64)

    def quantize(matrix: np.ndarray, stats: TensorStatistics, part: str):
        return QUANTIZERS.get("two_sided")(matrix, QuantConfig(0.02), stats)

    options = {"method": name, "rank": 7, "residual": residual, "stats": STATS}
    values: dict[TensorSpec, LowRank] = {
        TensorSpec("quantized", "F32", (33, 64)): quantize_low_rank(weight, quantize=quantize, **options),
        TensorSpec("floats", "F32", (33, 64)): cast_low_rank(weight, dtype="BF16", **options),
    }
    path = tmp_path / "model.tersor.safetensors"
    write_archive(path, values)
    reference = read_archive(path).tensors
    with open_archive(path) as archive:
        for spec, value in values.items():
            assert np.array_equal(archive[spec.name], value.to_dense())
            assert np.array_equal(reference[spec.name], value.to_dense())


@every_factorizer
@pytest.mark.parametrize("exponent", [-60, 60])
def test_very_small_and_large_weights_are_kept(name: str, exponent: int) -> None:
    options = {"method": name, "rank": 20, "residual": False, "stats": STATS, "dtype": "F32"}
    dense, moved = (cast_low_rank(np.ldexp(weight_of(), e), **options).to_dense() for e in (0, exponent))
    np.testing.assert_allclose(np.ldexp(moved, -exponent), dense, atol=1e-5)


def test_unknown_method_names_the_nearest() -> None:
    with pytest.raises(UnknownNameError, match="did you mean 'two_sided_svd'"):
        FACTORIZERS.get("two_side_svd")
