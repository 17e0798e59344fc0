"""One recipe that gives every method whose options set the size a tensor of its own, end to end."""

from __future__ import annotations

import fnmatch
from pathlib import Path

import numpy as np
import pytest

import tersor
from models import tiny_bert
from tersor.quant import QUANTIZERS

BY_OPTIONS = [name for name in QUANTIZERS.names() if QUANTIZERS.get(name).info.budget == "options"]
PLACES = (
    "embeddings.word_embeddings.weight",
    "*.0.attention.self.query.weight",
    "*.0.attention.self.key.weight",
    "*.0.attention.self.value.weight",
    "*.0.attention.output.dense.weight",
    "*.0.intermediate.dense.weight",
    "*.0.output.dense.weight",
    "*.1.attention.self.query.weight",
    "*.1.attention.self.key.weight",
    "*.1.attention.self.value.weight",
)


@pytest.fixture(scope="module")
def compressed(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, dict]:
    folder = tmp_path_factory.mktemp("recipes")
    rules = [{"match": place, "method": name} for place, name in zip(PLACES, BY_OPTIONS, strict=False)]
    recipe = {"method": "fixed", "options": {"bits": 8}, "targets": rules, "tune": "off", "drift": "off"}
    text = folder / "text.txt"
    text.write_text("The quick brown fox jumps over the lazy dog, and nobody minds. " * 40)
    model = tiny_bert(folder / "model", hidden=32, layers=2)
    return folder, tersor.compress(model, folder / "out", recipe=recipe, calibration=text)


def test_there_is_a_place_for_every_method() -> None:
    assert len(BY_OPTIONS) <= len(PLACES)


def test_every_method_is_in_the_file_and_the_model_loads(compressed: tuple[Path, dict]) -> None:
    folder, result = compressed
    assert sum(row["layout"] == "grid/1" for row in result["tensors"]) >= len(PLACES)
    with tersor.open(folder / "out") as archive:
        weights = {name: archive[name] for name in archive}
    model = tersor.load(folder / "out")
    for name, parameter in model.named_parameters():
        assert np.array_equal(parameter.detach().numpy(), weights[name])


@pytest.mark.parametrize(("method", "n_values"), [("sign", 2), ("ternary", 3)])
def test_weights_are_those_of_the_method_of_their_rule(
    method: str, n_values: int, compressed: tuple[Path, dict]
) -> None:
    folder, _ = compressed
    place = PLACES[BY_OPTIONS.index(method)]
    with tersor.open(folder / "out") as archive:
        (name,) = fnmatch.filter(archive, place)
        assert max(len(np.unique(row)) for row in archive[name]) == n_values


def test_file_says_the_recipe_with_its_methods(compressed: tuple[Path, dict]) -> None:
    _, result = compressed
    assert [rule["method"] for rule in result["recipe"]["targets"]] == BY_OPTIONS
