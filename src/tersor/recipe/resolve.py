"""The recipe to run, from a file, a mapping or an object, and the arguments given beside it."""

from __future__ import annotations

from collections.abc import Mapping
from importlib.resources import files
from pathlib import Path
from typing import Any

from tersor.errors import RecipeError, UsageError
from tersor.quant import QUANTIZERS
from tersor.recipe.loss import LOSS_FORMS
from tersor.recipe.methods import default_method
from tersor.recipe.model import Recipe, make_recipe
from tersor.recipe.size import SIZE_FORMS
from tersor.recipe.text import parse_recipe
from tersor.registry import did_you_mean

MAX_RECIPE_BYTES = 1 << 20
SUFFIX = ".yaml"


def resolve_recipe(
    recipe: Recipe | Mapping[str, object] | str | Path | None = None,
    *,
    size: str | None = None,
    max_loss: str | None = None,
    metric: str | None = None,
    max_latency: str | None = None,
    purpose: str | None = None,
    method: str | None = None,
    calibration: str | Path | None = None,
    seed: int | None = None,
) -> Recipe:
    """Return the recipe to run: what `recipe` says, replaced by each argument that is not None.

    recipe: a Recipe, a mapping with its fields, the path of a YAML file, or the name of a shipped recipe. A size
    replaces the recipe's max_loss, and the other way round. Without a method the one that suits `for` is taken.
    Raises: RecipeError (also when neither size nor max_loss is given).
    """
    values = _values_of(recipe)
    given: dict[str, Any] = {
        "size": size,
        "max_loss": max_loss,
        "metric": metric,
        "max_latency": max_latency,
        "for": purpose,
        "method": method,
        "seed": seed,
        "calibration": calibration and str(calibration),
    }
    if size is not None and max_loss is None:
        values = {name: value for name, value in values.items() if name not in ("max_loss", "metric")}
    if max_loss is not None and size is None:
        values.pop("size", None)
    values |= {name: value for name, value in given.items() if value is not None}
    if not values.get("steps"):
        values.setdefault("method", default_method(values.get("for")))
    made = make_recipe(values)
    _check_budget(made)
    return made


def _check_budget(recipe: Recipe) -> None:
    """Raise RecipeError if nothing says how large the result may be."""
    if recipe.size is not None or recipe.max_loss is not None:
        return
    steps = recipe.of_kind("quantize")
    methods = [step.method or default_method(recipe.purpose) for step in steps]
    methods += [rule.method for rule in recipe.targets if rule.method is not None]
    unbounded = [method for method in methods if QUANTIZERS.get(method).info.budget == "step"]
    if unbounded:
        raise RecipeError(
            f"no size given, and {unbounded[0]!r} makes any: use --size (size=) or `size:` in a recipe: {SIZE_FORMS}; "
            f"or --max-loss (max_loss=) or `max_loss:`: {LOSS_FORMS}"
        )


def shipped_recipes() -> dict[str, str]:
    """The recipes that come with the package: name -> YAML text."""
    items = [
        item for item in files("tersor.recipe").joinpath("shipped").iterdir() if item.name.endswith(SUFFIX)
    ]
    found = {item.name.removesuffix(SUFFIX): item.read_text(encoding="utf-8") for item in items}
    return dict(sorted(found.items()))


def recipe_text(name: str | Path) -> tuple[bytes, Path | None]:
    """(the text, its folder) of a recipe file, or (the text, None) of a shipped recipe.

    A file of that name wins over a shipped recipe. Raises: UsageError naming the nearest shipped one.
    """
    path = Path(name)
    shipped = shipped_recipes() if not path.exists() else {}
    if str(name) in shipped:
        return shipped[str(name)].encode(), None
    if path.is_dir():
        raise UsageError(f"recipe {name}: is a directory; a recipe is a YAML file")
    try:
        with path.open("rb") as file:
            data = file.read(MAX_RECIPE_BYTES + 1)
    except FileNotFoundError as exc:
        near = did_you_mean(str(name), shipped)
        raise UsageError(
            f"recipe {name}: no such file, and no recipe of that name comes with tersor{near} "
            "`tersor recipe list` shows those"
        ) from exc
    except OSError as exc:
        raise UsageError(f"recipe {path}: cannot be read: {exc.strerror}") from exc
    if len(data) > MAX_RECIPE_BYTES:
        raise RecipeError(f"{path}: more than {MAX_RECIPE_BYTES} bytes; a recipe is a short YAML file")
    return data, path.parent


def read_recipe(path: str | Path) -> dict[str, Any]:
    """Return the checked fields of a YAML recipe, or of the shipped recipe of that name.

    `calibration` is made relative to the recipe's folder, and must exist.
    Raises: RecipeError with line and column of every problem; UsageError if the file cannot be read.
    """
    data, folder = recipe_text(path)
    values = parse_recipe(data, str(path), folder=folder)
    if folder is not None and isinstance(values.get("calibration"), str):
        values["calibration"] = str(folder / str(values["calibration"]))
    return values


def _values_of(recipe: Recipe | Mapping[str, object] | str | Path | None) -> dict[str, Any]:
    if isinstance(recipe, str | Path):
        return read_recipe(recipe)
    return recipe.to_dict() if isinstance(recipe, Recipe) else dict(recipe or {})
