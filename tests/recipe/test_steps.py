"""Steps of a recipe: read, checked with places, put in an order that can work."""

from __future__ import annotations

from typing import Any

import pytest

from tersor.errors import RecipeError
from tersor.recipe import KINDS, parse_recipe, resolve_recipe, shipped_recipes

QUANTIZE = {"quantize": {}}
RESIDUAL = {"low_rank": {"keep": 0.5, "residual": True}}


def refusal(*steps: dict[str, Any], **fields: Any) -> str:
    with pytest.raises(RecipeError) as caught:
        resolve_recipe({"steps": list(steps), **fields})
    return str(caught.value)


def test_flat_recipe_is_one_step_that_quantizes() -> None:
    recipe = resolve_recipe({"method": "fixed", "options": {"bits": 4}})
    (step,) = recipe.all_steps
    assert step.kind == "quantize"
    assert step.method == "fixed"
    assert step.method_options == {"bits": 4}
    assert recipe.steps == ()


def test_steps_are_objects_with_defaults() -> None:
    recipe = resolve_recipe(
        {"size": "3bpw", "steps": [{"prune": {"sparsity": 0.6}, "targets": "*.query.*"}, QUANTIZE]}
    )
    prune = recipe.steps[0]
    assert prune.option("sparsity") == 0.6
    assert prune.option("scope") is None
    assert prune.fits("layer.0.query.weight")
    assert not prune.fits("layer.0.key.weight")
    assert [step.kind for step in recipe.steps_at("store", "code")] == ["quantize"]


def test_steps_survive_a_round_trip_through_plain_values() -> None:
    steps = [{"heads": {"share": 0.25}, "evaluate": "embedding"}, {"recover": {"what": "all"}}, QUANTIZE]
    recipe = resolve_recipe({"size": "3bpw", "steps": steps})
    assert recipe.to_dict()["steps"] == steps
    assert "method" not in recipe.to_dict()
    assert resolve_recipe(recipe.to_dict()) == recipe


def test_every_problem_of_steps_is_named_with_its_place() -> None:
    text = """size: 3bpw
steps:
  - heads: {share: 2}
  - layers: {}
  - prune: {sparsitty: 0.5, method: wandda}
  - quantise: {}
  - code: {level: huge}
  - low_rank: {keep: 0.5}
    targets: 5
"""
    with pytest.raises(RecipeError) as caught:
        parse_recipe(text, "r.yaml")
    lines = str(caught.value).splitlines()
    for place, what in [
        ("r.yaml:3:20:", "share=2"),
        ("r.yaml:4:13:", "needs one of share, keep"),
        ("r.yaml:5:24:", "did you mean 'sparsity'"),
        ("r.yaml:5:37:", "did you mean 'wanda'"),
        ("r.yaml:6:15:", "did you mean 'quantize'"),
        ("r.yaml:7:19:", "one of 'fast', 'balanced', 'max'"),
        ("r.yaml:9:14:", "glob pattern"),
    ]:
        assert any(line.startswith(place) and what in line for line in lines), (place, lines)
    assert len(lines) == 7


def test_options_of_methods_are_checked() -> None:
    assert "has no option 'bitz'; did you mean 'bits'?" in refusal(
        {"quantize": {"method": "fixed", "options": {"bitz": 4}}}
    )
    assert "has no option 'x'" in refusal({"prune": {"method": "magnitude", "options": {"x": 1}}})
    assert "has no option 'x'" in refusal({"low_rank": {"method": "svd", "options": {"x": 1}}})


ORDERS = [
    ([QUANTIZE, {"heads": {"share": 0.25}}], "heads after quantize: it re-fits float weights"),
    ([{"prune": {}}, {"neurons": {"share": 0.25}}], "neurons after prune: it removes parts of plain float matrices"),
    ([{"heads": {}}, {"recover": {}}, {"layers": {"share": 0.5}}], "layers after recover: the recovery would be"),
    ([{"prune": {}}, {"recover": {"what": "all"}}], "recover after prune: tuning all weights fills the zeros"),
    ([QUANTIZE, {"recover": {"what": "all"}}], "recover after quantize: tuning all weights needs floats"),
    ([QUANTIZE, {"prune": {}}], "prune after quantize: it decides by float weights"),
    ([{"prune": {}}, {"low_rank": {}}], "low_rank after prune: the product of two factors has no zeros"),
    ([{"low_rank": {}}, {"prune": {}}], "prune after low_rank: zeros in a factor are no zeros in the product"),
    ([QUANTIZE, {"cast": {}}], "cast after quantize: codes have no float type"),
    ([{"cast": {}}, QUANTIZE], "quantize after cast: quantizing makes codes"),
    ([{"code": {}}, QUANTIZE], "quantize after code: `code` ends a recipe"),
    ([{"prune": {}}, {"prune": {"sparsity": 0.7}}], "prune is there already"),
    ([{"prune": {}}, {"recover": {}}, QUANTIZE], "quantize after recover: after steps on single tensors"),
    ([{"recover": {}}, QUANTIZE], "recover: nothing before it changes the model"),
    ([{"prune": {}}, {"quantize": {"method": "sign"}}], "'sign' has no code for zero"),
]  # fmt: skip


@pytest.mark.parametrize(("steps", "reason"), ORDERS, ids=[reason.split(":")[0] for _, reason in ORDERS])
def test_order_that_cannot_work_is_refused_with_its_reason(steps: list[dict[str, Any]], reason: str) -> None:
    assert reason in refusal(*steps, size="3bpw")


SENSIBLE = [
    [{"layers": {"share": 0.5}}, {"heads": {}}, {"neurons": {}}, {"width": {}}, {"recover": {"what": "all"}}, QUANTIZE],
    [{"prune": {}}, RESIDUAL, QUANTIZE, {"code": {"level": "max"}}],
    [RESIDUAL, {"prune": {}}, QUANTIZE],
    [{"heads": {}}, {"recover": {}}, {"prune": {}}, QUANTIZE, {"recover": {"what": "small"}}],
    [{"quantize": {"method": "fixed"}, "targets": "*.0.*"}, QUANTIZE],
    [{"cast": {"dtype": "float16"}, "targets": "*.bias"}, QUANTIZE],
]  # fmt: skip


@pytest.mark.parametrize(
    "steps", SENSIBLE, ids=["+".join(next(iter(s)) for s in steps) for steps in SENSIBLE]
)
def test_sensible_order_is_accepted(steps: list[dict[str, Any]]) -> None:
    assert len(resolve_recipe({"size": "3bpw", "steps": steps}).steps) == len(steps)


def test_what_cannot_meet_a_budget_is_refused() -> None:
    assert "size: no step quantizes" in refusal({"prune": {}}, size="0.5x")
    assert "max_loss: no step quantizes" in refusal({"prune": {}}, max_loss="1%")
    assert "no size given, and 'two_sided' makes any" in refusal({"prune": {}}, QUANTIZE)


def test_fields_that_contradict_steps_are_refused() -> None:
    assert "method: a recipe with steps says it there" in refusal(QUANTIZE, method="fixed", size="3bpw")
    assert "max_latency: chooses what is removed by itself" in refusal({"heads": {}}, max_latency="0.8x")
    assert "low_rank for gguf" in refusal({"low_rank": {}}, **{"for": "gguf"})
    assert "drift: has no correction for factors" in refusal(
        {"low_rank": {}}, QUANTIZE, size="3bpw", drift="on"
    )
    assert "give sparsity or pattern" in refusal({"prune": {"sparsity": 0.5, "pattern": "2:4"}})


def test_step_that_is_no_step_is_refused() -> None:
    assert "a step is a mapping" in refusal("heads")  # type: ignore[arg-type]
    assert "one step has one kind, got heads and neurons" in refusal({"heads": {}, "neurons": {}})
    assert "a step needs a kind" in refusal({"targets": "*"})
    assert "evaluate needs one of" in refusal({**QUANTIZE, "evaluate": "f1"}, size="3bpw")
    assert "heads acts on the whole model" in refusal({"heads": {}, "targets": "*"})
    assert "needs a mapping of options" in refusal({"heads": 0.25})


@pytest.mark.parametrize("kind", KINDS)
def test_kind_describes_itself(kind: str) -> None:
    assert KINDS[kind].summary
    for option in KINDS[kind].options.values():
        assert option.check(option.default) == ""
        assert option.help


@pytest.mark.parametrize("text", ["4bpw", "1.5x", "-1ms", "12", "0x", "80%"])
def test_latency_that_cannot_be_is_refused(text: str) -> None:
    with pytest.raises(RecipeError, match="max_latency"):
        resolve_recipe({"size": "3bpw", "max_latency": text})


@pytest.mark.parametrize(
    ("text", "seconds"), [("0.8x", 0.08), ("12ms", 0.012), (".5 s", 0.5), ("300us", 3e-4)]
)
def test_latency_is_a_share_of_the_originals_or_a_time(text: str, seconds: float) -> None:
    limit = resolve_recipe({"size": "3bpw", "max_latency": text}).latency_limit
    assert limit is not None
    assert limit.seconds(0.1) == pytest.approx(seconds)


def test_latency_is_refused_for_what_runs_elsewhere() -> None:
    with pytest.raises(RecipeError, match="runs elsewhere"):
        resolve_recipe({"size": "0.3x", "max_latency": "0.8x", "for": "vllm"})


@pytest.mark.parametrize("name", shipped_recipes())
def test_shipped_recipe_is_valid_and_says_what_it_is_for(name: str) -> None:
    assert shipped_recipes()[name].startswith("# ")
    assert resolve_recipe(name).steps


def test_unknown_recipe_names_the_nearest_shipped_one() -> None:
    with pytest.raises(Exception, match="did you mean 'storage-3bit'"):
        resolve_recipe("storage-3bits")
