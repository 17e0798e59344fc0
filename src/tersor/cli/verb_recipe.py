"""`tersor recipe`: check one, show what it says, or print the schema of all."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import click

from tersor.cli.options import verb
from tersor.cli.table import table
from tersor.cli.talk import Talk
from tersor.errors import UsageError

ACTIONS = ("check", "show", "schema")


@verb(
    "recipe",
    examples=[
        "tersor recipe check recipe.yaml",
        "tersor recipe show recipe.yaml --json",
        "tersor recipe schema > recipe.schema.json",
    ],
    arguments_help={
        "ACTION": "check: find every mistake at once, each with its line and column; show: print what the recipe "
        "says, defaults filled in; schema: print a JSON Schema for editors",
        "[RECIPE]": "path of a YAML recipe (not for schema)",
    },
)
@click.argument("action", metavar="ACTION", type=click.Choice(ACTIONS))
@click.argument(
    "path", metavar="[RECIPE]", required=False, type=click.Path(exists=True, dir_okay=False, path_type=Path)
)
def recipe(talk: Talk, action: str, path: Path | None) -> None:
    """Check a recipe for `compress`, show what it says, or print the schema of recipes."""
    if action == "schema":
        if path is not None:
            raise UsageError(
                f"recipe schema takes no file, got {path}; `tersor recipe check {path}` checks one"
            )
        _schema(talk)
    elif path is None:
        raise UsageError(f"recipe {action}: which recipe? `tersor recipe {action} recipe.yaml`")
    elif action == "check":
        _check(talk, path)
    else:
        _show(talk, path)


def _check(talk: Talk, path: Path) -> None:
    from tersor.recipe import read_recipe

    given = read_recipe(path)
    talk.result({"ok": True, "path": str(path), "recipe": given}, f"{path}: ok")


def _show(talk: Talk, path: Path) -> None:
    from tersor.recipe import describe_recipe, read_recipe

    values = describe_recipe(read_recipe(path))
    rows = [
        [name, _text(value), "given" if is_given else "default"] for name, (value, is_given) in values.items()
    ]
    shown = {name: value for name, (value, _) in values.items()}
    talk.result({"path": str(path), "recipe": shown}, table(("field", "value", ""), rows))


def _schema(talk: Talk) -> None:
    from tersor.recipe import recipe_schema

    schema = recipe_schema()
    talk.result(schema, json.dumps(schema, indent=2))


def _text(value: Any) -> str:
    if value is None:
        return "-"
    return value if isinstance(value, str) else json.dumps(value)
