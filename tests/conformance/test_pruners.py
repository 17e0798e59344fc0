"""Every pruner, factorizer and structured step describes itself, is documented, and survives a real archive."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import tersor
from archives import write_archive
from matrices import inputs_of, statistics_of, weight_of
from models import tiny_bert
from reference_reader import read_archive
from tersor.archive.reader import open_archive
from tersor.errors import RecipeError, UnknownNameError
from tersor.layouts.sparse import Sparse
from tersor.lowrank import FACTORIZERS, cast_low_rank, rank_for
from tersor.methods import describe_method
from tersor.prune import PRUNERS, PruneConfig, prune_matrix
from tersor.recipe import KINDS, resolve_recipe
from tersor.recipe.methods import methods_of
from tersor.structured import STRUCTURED
from tersor.types import TensorSpec

DOCUMENT = (Path(__file__).parents[2] / "docs" / "methods.md").read_text()
# Registry of a kind of step -> its names; a structured step is its own method.
BY_KIND = {
    "pruners": ("prune", PRUNERS.names()),
    "lowrank": ("low_rank", FACTORIZERS.names()),
    "structured": ("", STRUCTURED.names()),
}
EVERY = [(kind, name) for kind, (_, names) in BY_KIND.items() for name in names]
every_method = pytest.mark.parametrize(("kind", "name"), EVERY, ids=[name for _, name in EVERY])
STEPS: dict[str, dict[str, Any]] = {"layers": {"share": 0.5}, "width": {"share": 0.25}}


def section(name: str) -> str:
    found = re.search(rf"^## `{name}`\n(.*?)(?=^##? |\Z)", DOCUMENT, re.MULTILINE | re.DOTALL)
    assert found, f"{name!r} has no section '## `{name}`' in docs/methods.md"
    return found[1]


def step_of(kind: str, name: str, **options: Any) -> dict[str, Any]:
    if kind == "structured":
        return {name: STEPS.get(name, {}) | options}
    return {BY_KIND[kind][0]: {"method": name, **({"options": options} if options else {})}}


@every_method
def test_method_is_listed_and_described(kind: str, name: str) -> None:
    assert name in tersor.methods()[kind]
    found = describe_method(name)
    assert found["kind"] == kind
    assert found["summary"]
    assert found["source"]
    for option in found["options"]:
        assert option["help"]


@every_method
def test_method_is_documented_with_its_options_and_source(kind: str, name: str) -> None:
    text = section(name)
    assert "Source: " in text
    for option in describe_method(name)["options"]:
        assert f"`{option['name']}`" in text, (
            f"docs/methods.md does not explain option {option['name']!r} of {name!r}"
        )


@every_method
def test_unknown_option_names_the_nearest(kind: str, name: str) -> None:
    known = [option["name"] for option in describe_method(name)["options"]]
    wrong = f"{known[0]}x" if known else "nothing"
    with pytest.raises(
        RecipeError, match=f"did you mean '{known[0]}'" if known else "has no option 'nothing'"
    ):
        resolve_recipe({"steps": [step_of(kind, name, **{wrong: 1})]})


@every_method
def test_recipe_accepts_it_and_says_it_in_plain_values(kind: str, name: str) -> None:
    recipe = resolve_recipe({"steps": [step_of(kind, name)]})
    assert resolve_recipe(recipe.to_dict()) == recipe


@every_method
def test_recipe_carries_it_out_and_reports_it(kind: str, name: str, tmp_path: Path) -> None:
    text = tmp_path / "text.txt"
    text.write_text("The quick brown fox jumps over the lazy dog, and nobody minds. " * 20)
    model = tiny_bert(tmp_path / "model")
    recipe = {"steps": [step_of(kind, name)]}
    result = tersor.compress(model, tmp_path / "out", recipe=recipe, calibration=text)
    assert result["output"]["ratio"] < 1
    assert tersor.verify(tmp_path / "out")["ok"]
    tersor.load(tmp_path / "out")
    if kind == "structured":
        assert result["reduce"]["steps"][0]["kind"] == name
    else:
        step = BY_KIND[kind][0]
        assert {row[step]["method"] for row in result["tensors"] if step in row} == {name}


@pytest.mark.parametrize("name", PRUNERS.names())
@pytest.mark.parametrize("config", [PruneConfig(0.5), PruneConfig(pattern="2:4"), PruneConfig(0.5, "layer")])
def test_pruned_matrix_is_the_same_for_both_readers(name: str, config: PruneConfig, tmp_path: Path) -> None:
    pruned = prune_matrix(name, weight_of(64, 96), config, statistics_of(inputs_of(96)))
    assert (pruned.weight[~pruned.mask] == 0).all()
    assert pruned.sparsity == pytest.approx(0.5, abs=0.02)
    path = tmp_path / "model.tersor.safetensors"
    write_archive(path, {TensorSpec("w", "F32", (64, 96)): Sparse(pruned.weight)})
    with open_archive(path) as archive:
        assert np.array_equal(archive["w"], pruned.weight)
        assert np.array_equal(archive.read("w", rows=slice(3, 9)), pruned.weight[3:9])
    assert np.array_equal(read_archive(path).tensors["w"], pruned.weight)


@pytest.mark.parametrize("name", FACTORIZERS.names())
def test_factors_are_the_same_for_both_readers(name: str, tmp_path: Path) -> None:
    weight, known = weight_of(64, 96), statistics_of(inputs_of(96))
    made = cast_low_rank(
        weight, method=name, rank=rank_for((64, 96), 0.5), residual=False, stats=known, dtype="F32"
    )
    path = tmp_path / "model.tersor.safetensors"
    write_archive(path, {TensorSpec("w", "F32", (64, 96)): made})
    with open_archive(path) as archive:
        assert np.array_equal(archive["w"], made.to_dense())
        assert np.array_equal(archive.read("w", rows=slice(3, 9)), made.to_dense()[3:9])
    assert np.array_equal(read_archive(path).tensors["w"], made.to_dense())


@pytest.mark.parametrize("kind", ["quantize", "prune", "low_rank"])
def test_unknown_method_names_the_nearest(kind: str) -> None:
    name = methods_of(kind).names()[0]
    with pytest.raises(UnknownNameError, match=f"did you mean '{name}'"):
        methods_of(kind).get(f"{name}x")


def test_every_structured_step_is_a_kind_of_step() -> None:
    assert set(STRUCTURED.names()) <= set(KINDS)
