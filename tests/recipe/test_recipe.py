"""Sizes and recipes: what is read, and that every mistake is named where it stands."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tersor.errors import RecipeError, UsageError
from tersor.recipe import MAX_RECIPE_BYTES, Recipe, parse_recipe, parse_size, resolve_recipe


@pytest.mark.parametrize(
    ("text", "n_bytes"),
    [
        ("0.2x", 2000),
        ("1x", 10000),
        (".5x", 5000),
        ("450B", 450),
        ("4.5kB", 4500),
        ("45MB", 45_000_000),
        ("45 MiB", 45 * 2**20),
        ("0.001GB", 1_000_000),
        ("3.2bpw", 1000),
        (" 0.3x ", 3000),
    ],
)
def test_size_in_bytes_of_an_original_of_10000_bytes_and_2500_parameters(text: str, n_bytes: int) -> None:
    assert parse_size(text).n_bytes(10_000, 2500) == n_bytes


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("0,2x", "the decimal mark is a point: 0.2x"),
        ("5", "it has no unit; write 5MB or 5bpw"),
        ("0.2", "write 0.2x or 0.2MB or 0.2bpw"),
        ("-1MB", "it must be above 0"),
        ("5x", "for 5 times smaller write 0.2x"),
        ("0x", "above 0"),
        ("0B", "at least one byte"),
        ("0.3B", "at least one byte"),
        ("20%", "write 0.2x"),
        ("45mb", "capitals: 45MB"),
        ("3.2bps", "did you mean 'bpw'?"),
        ("65bpw", "at most 64"),
        ("0bpw", "above 0"),
        ("", "a number and a unit"),
        ("nanx", "a number and a unit"),
        ("1e3MB", "a number and a unit"),
        ("9" * 5000 + "MB", "a number and a unit"),
    ],
)
def test_size_that_cannot_work_says_how_to_write_it(text: str, message: str) -> None:
    with pytest.raises(UsageError) as caught:
        parse_size(text)
    assert message in str(caught.value)
    assert "0.2x (of the original)" in str(caught.value)


@given(st.text(max_size=20))
def test_any_text_is_a_budget_or_a_usage_error(text: str) -> None:
    try:
        budget = parse_size(text)
    except UsageError:
        return
    assert budget.amount > 0


@given(st.integers(1, 1000), st.integers(0, 10**12))
def test_ratio_is_exact_decimal_arithmetic_rounded_down(thousandths: int, original: int) -> None:
    budget = parse_size(f"{thousandths / 1000:.3f}x")
    assert budget.n_bytes(original, 1) == thousandths * original // 1000


def test_recipe_reads_every_field() -> None:
    values = parse_recipe("size: 0.15x\nmethod: rtn\ncalibration: text.txt\nseed: 7\n")
    assert values == {"size": "0.15x", "method": "rtn", "calibration": "text.txt", "seed": 7}
    assert resolve_recipe(values).to_dict() == values


def test_recipe_lists_all_problems_with_line_and_column() -> None:
    text = "sizes: 1x\nsize: 0,2x\nmethod: [a]\nseed: -1\nseed: 2\n"
    with pytest.raises(RecipeError) as caught:
        parse_recipe(text, "r.yaml")
    lines = str(caught.value).splitlines()
    assert lines[0].startswith("r.yaml:1:1: unknown key 'sizes'; did you mean 'size'?")
    assert lines[1].startswith("r.yaml:2:7: size '0,2x': the decimal mark is a point")
    assert lines[2] == "r.yaml:3:9: method: needs a single value, got a sequence"
    assert lines[3] == "r.yaml:4:7: seed: needs a whole number 0 .. 4294967295, got -1"
    assert lines[4] == "r.yaml:5:1: 'seed' is given twice"
    assert len(lines) == 5


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "r.yaml: a recipe is a mapping"),
        ("- size", "r.yaml:1:1: a recipe is a mapping"),
        ("size: [", "r.yaml:1:8: not YAML"),
        ("size: 0.2x\n---\nsize: 0.2x\n", "not YAML"),
        ("size: 0.2x\x00", "not YAML"),
        ("? [a, b]\n: 1\n", "r.yaml:1:3: unknown key 'a nested key'"),
        ("size: 0.2", "r.yaml:1:7: size '0.2': it has no unit"),
        ("seed: 0x10", "seed: needs a whole number"),
        ("seed: true", "seed: needs a whole number"),
        ("method: ''", "method: needs a name"),
        ("calibration: ''", "calibration: needs the path"),
        ("[" * 5000, "not YAML"),
    ],
)
def test_recipe_that_cannot_be_read_is_a_recipe_error(text: str, message: str) -> None:
    with pytest.raises(RecipeError) as caught:
        parse_recipe(text, "r.yaml")
    assert message in str(caught.value)


@given(st.binary(max_size=60))
def test_any_bytes_are_a_recipe_or_a_recipe_error(data: bytes) -> None:
    try:
        parse_recipe(data)
    except RecipeError:
        return


def test_recipe_file_gives_calibration_relative_to_its_folder(tmp_path: Path) -> None:
    path = tmp_path / "recipe.yaml"
    path.write_text("size: 3bpw\ncalibration: texts/a.txt\n")
    (tmp_path / "texts").mkdir()
    (tmp_path / "texts" / "a.txt").write_text("text")
    assert resolve_recipe(path).calibration == str(tmp_path / "texts" / "a.txt")


def test_recipe_file_that_is_missing_or_huge_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="no such file"):
        resolve_recipe(tmp_path / "none.yaml")
    with pytest.raises(UsageError, match="is a directory"):
        resolve_recipe(tmp_path)
    path = tmp_path / "huge.yaml"
    path.write_bytes(b"#" * (MAX_RECIPE_BYTES + 1))
    with pytest.raises(RecipeError, match="more than 1048576 bytes"):
        resolve_recipe(path)


def test_arguments_win_over_the_recipe() -> None:
    recipe = Recipe(size="0.2x", seed=3, method="rtn")
    assert resolve_recipe(recipe, size="0.1x", seed=0) == Recipe(size="0.1x", seed=0, method="rtn")
    assert resolve_recipe({"size": "0.2x"}, calibration=Path("a.txt")).calibration == "a.txt"
    assert resolve_recipe(None, size="0.2x") == Recipe(size="0.2x")


def test_python_recipe_is_checked_like_a_file() -> None:
    with pytest.raises(RecipeError, match="no size given"):
        resolve_recipe(None)
    with pytest.raises(RecipeError, match="unknown key 'sed'; did you mean 'seed'"):
        resolve_recipe({"size": "0.2x", "sed": 1})
    with pytest.raises(RecipeError, match=r"(?s)size '2x'.*seed: needs"):
        Recipe(size="2x", seed=-1)
