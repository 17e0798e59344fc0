"""Methods, options, exceptions and purposes: checked against what the methods declare, all mistakes at once."""

from __future__ import annotations

from typing import Any

import pytest

from tersor.errors import RecipeError
from tersor.recipe import (
    PURPOSES,
    Recipe,
    TargetRule,
    describe_recipe,
    parse_recipe,
    recipe_schema,
    resolve_recipe,
)

TEXT = """\
max_loss: 1%
metric: kl
for: gguf
method: fixed
options:
  bits: 4
  symmetric: true
targets:
  - {match: 'pooler.*', keep: true}
  - match: 'encoder.*'
    options: {bits: 8}
drift: on
tune: off
"""


def test_every_field_is_read_with_its_own_type() -> None:
    values = parse_recipe(TEXT)
    assert values["options"] == {"bits": 4, "symmetric": True}
    assert values["targets"][0] == {"match": "pooler.*", "keep": True}
    assert (values["drift"], values["tune"]) == ("on", "off")
    recipe = resolve_recipe(values)
    assert recipe.targets[1] == TargetRule(match="encoder.*", options={"bits": 8})
    assert recipe.purpose == "gguf"
    assert recipe.loss_limit is not None
    assert recipe.loss_limit.metric == "kl"
    assert resolve_recipe(recipe) == recipe == resolve_recipe(recipe.to_dict())


MISTAKES = """\
size: 0.2x
max_loss: 1%
for: vlm
method: fixed
options: {bitz: 4, bits: 99}
targets:
  - {match: 'a', keep: maybe}
  - {keep: true}
  - {match: 'b', method: gptk}
  - {match: 'c', method: codebook, options: {level: 4}}
  - 7
  - {match: 'd'}
  - {match: 'e', kep: true}
drift: sometimes
"""


def test_all_mistakes_are_named_with_line_and_column() -> None:
    with pytest.raises(RecipeError) as caught:
        parse_recipe(MISTAKES, "r.yaml")
    lines = str(caught.value).splitlines()
    expected = [
        ("r.yaml:2:11:", "size and max_loss exclude each other"),
        ("r.yaml:3:6:", "for: needs one of storage, cpu, gguf, vllm, got 'vlm'; did you mean 'vllm'?"),
        ("r.yaml:5:17:", "no option 'bitz'; did you mean 'bits'?"),
        ("r.yaml:5:26:", "bits=99 needs an integer 2..8"),
        ("r.yaml:7:24:", "keep is true or false, got 'maybe'"),
        ("r.yaml:8:5:", "a rule needs `match`"),
        ("r.yaml:9:26:", "unknown quantizer 'gptk'; did you mean 'gptq'?"),
        ("r.yaml:10:53:", "no option 'level'; did you mean 'levels'?"),
        ("r.yaml:11:5:", "a rule is a mapping"),
        ("r.yaml:12:5:", "a rule says `keep: true`"),
        ("r.yaml:13:5:", "a rule says `keep: true`"),
        ("r.yaml:13:23:", "unknown key 'kep'; did you mean 'keep'?"),
        ("r.yaml:14:8:", "drift: needs one of auto, on, off"),
    ]
    assert [line.split(" ", 1)[0] for line in lines] == [where for where, _ in expected]
    for line, (_, message) in zip(lines, expected, strict=True):
        assert message in line


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"size": "1x", "options": 3}, "options: needs a mapping"),
        ({"size": "1x", "targets": "all"}, "targets: needs a list"),
        ({"size": "1x", "metric": "kl"}, "no max_loss is given"),
        ({"size": "1x", "method": "sign", "for": "vllm"}, "cannot run on 'vllm'; choose one of"),
        ({"max_loss": 1}, "max_loss: needs text"),
        (
            {"size": "1x", "targets": [{"match": "a", "keep": True, "method": "rtn"}]},
            "no method and no options",
        ),
        ({"method": "gptq"}, "no size given, and 'gptq' makes any"),
    ],
)
def test_mapping_that_cannot_run_is_refused(values: dict[str, Any], message: str) -> None:
    with pytest.raises(RecipeError) as caught:
        resolve_recipe(values)
    assert message in str(caught.value)


def test_a_method_whose_options_set_the_size_needs_no_budget() -> None:
    recipe = resolve_recipe({"method": "fixed", "options": {"bits": 8, "delta": "2^-8"}})
    assert recipe.budget is None
    assert recipe.loss_limit is None


@pytest.mark.parametrize("purpose", PURPOSES)
def test_each_purpose_has_a_method_that_can_run_there(purpose: str) -> None:
    assert resolve_recipe({"size": "0.3x"}, purpose=purpose).method


def test_a_size_replaces_the_loss_of_the_recipe_and_the_other_way_round() -> None:
    lossy = resolve_recipe({"max_loss": "1%", "metric": "embedding"}, size="0.2x")
    assert (lossy.size, lossy.max_loss, lossy.metric) == ("0.2x", None, None)
    sized = resolve_recipe({"size": "0.2x"}, max_loss="1%")
    assert (sized.size, sized.max_loss) == (None, "1%")


def test_aliases_that_nest_without_end_are_refused() -> None:
    with pytest.raises(RecipeError, match=r"mapping|single value"):
        parse_recipe("size: 1x\ntargets: &a\n  - *a\n")
    with pytest.raises(RecipeError, match="single value"):
        parse_recipe("size: 1x\nmethod: fixed\noptions: {bits: [[[[[[1]]]]]]}\n")


def test_to_dict_holds_what_was_set_and_what_always_matters() -> None:
    assert Recipe(size="1x", method="rtn").to_dict() == {
        "size": "1x",
        "method": "rtn",
        "calibration": None,
        "seed": 0,
    }


def test_description_fills_in_defaults_and_says_which() -> None:
    described = describe_recipe({"size": "1x", "for": "vllm"})
    assert described["size"] == ("1x", True)
    assert described["method"] == ("fixed", False)
    assert described["drift"] == ("auto", False)


def test_schema_names_every_field_and_method() -> None:
    schema = recipe_schema()
    assert set(describe_recipe({})) == set(schema["properties"])
    assert "two_sided" in schema["properties"]["method"]["enum"]
    assert "fixed: bits" in schema["properties"]["options"]["description"]
