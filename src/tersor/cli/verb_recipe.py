"""`tersor recipe`: list those that come with tersor, check one, show what it says, or print the schema of all."""

from __future__ import annotations

import json
from typing import Any

import click

from tersor.cli.options import verb
from tersor.cli.table import table
from tersor.cli.talk import Talk
from tersor.errors import UsageError

ACTIONS = ("check", "show", "list", "schema")


@verb(
    "recipe",
    examples=[
        "tersor recipe check recipe.yaml",
        "tersor recipe show recipe.yaml --json",
        "tersor recipe list",
        "tersor recipe show fast-encoder",
        "tersor recipe schema > recipe.schema.json",
    ],
    arguments_help={
        "ACTION": "check: find every mistake at once, each with its line and column; show: print what the recipe "
        "says, defaults filled in (of a shipped one its text); list: what comes with tersor; schema: print a JSON "
        "Schema for editors",
        "[RECIPE]": "path of a YAML recipe, or name of one that comes with tersor (not for list and schema)",
    },
)
@click.argument("action", metavar="ACTION", type=click.Choice(ACTIONS))
@click.argument("path", metavar="[RECIPE]", required=False)
def recipe(talk: Talk, action: str, path: str | None) -> None:
    """Check a recipe for `compress`, show it, list those that come with tersor, or print the schema."""
    if action in ("schema", "list"):
        if path is not None:
            raise UsageError(
                f"recipe {action} takes no file, got {path}; `tersor recipe check {path}` checks one"
            )
        (_schema if action == "schema" else _list)(talk)
    elif path is None and action == "show":
        _list(talk)
    elif path is None:
        raise UsageError(f"recipe {action}: which recipe? `tersor recipe {action} recipe.yaml`")
    elif action == "check":
        _check(talk, path)
    else:
        _show(talk, path)


def _check(talk: Talk, path: str) -> None:
    from tersor.recipe import read_recipe

    given = read_recipe(path)
    talk.result({"ok": True, "path": path, "recipe": given}, f"{path}: ok")


def _list(talk: Talk) -> None:
    from tersor.recipe import shipped_recipes

    found = {name: _purpose(text) for name, text in shipped_recipes().items()}
    rows = [[name, what] for name, what in found.items()]
    talk.result(
        {"recipes": [{"name": n, "summary": w} for n, w in found.items()]}, table(("recipe", "for"), rows)
    )


def _purpose(text: str) -> str:
    """The first comment of a shipped recipe."""
    return text.partition("\n")[0].removeprefix("#").strip()


def _show(talk: Talk, path: str) -> None:
    from tersor.recipe import describe_recipe, read_recipe, recipe_text

    given = read_recipe(path)
    values = describe_recipe(given)
    text, folder = recipe_text(path)
    if folder is None:  # one that comes with tersor: its text is meant to be read, and copied
        talk.result({"path": path, "recipe": given}, text.decode().rstrip())
        return
    rows = [
        [name, _text(value), "given" if is_given else "default"] for name, (value, is_given) in values.items()
    ]
    shown = {name: value for name, (value, _) in values.items()}
    talk.result({"path": path, "recipe": shown}, table(("field", "value", ""), rows))


def _schema(talk: Talk) -> None:
    from tersor.recipe import recipe_schema

    schema = recipe_schema()
    talk.result(schema, json.dumps(schema, indent=2))


def _text(value: Any) -> str:
    if value is None:
        return "-"
    return value if isinstance(value, str) else json.dumps(value)
