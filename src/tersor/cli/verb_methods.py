"""`tersor methods`: what is installed, and what a quantizer's options are."""

from __future__ import annotations

from typing import Any

import click

from tersor.cli.options import verb
from tersor.cli.table import table
from tersor.cli.talk import Talk


@verb(
    "methods",
    examples=["tersor methods", "tersor methods awq", "tersor methods --json"],
    arguments_help={"[NAME]": "a quantizer: show what it does, its options and who can run what it makes"},
)
@click.argument("name", metavar="[NAME]", required=False)
def methods(talk: Talk, name: str | None) -> None:
    """List the codecs, quantizers, sources and tasks that are installed, or describe one quantizer.

    Packages that register entry points of the group `tersor.codecs`, `tersor.quantizers`, ... appear too.
    """
    if name is not None:
        _describe(talk, name)
    else:
        _list(talk)


def _list(talk: Talk) -> None:
    from tersor.methods import methods as installed

    result = installed()
    kinds = [[kind, ", ".join(names) if names else "-"] for kind, names in result.items()]
    text = table(["kind", "names"], kinds)
    talk.result(result, f"{text}\n\n{_quantizers(result['quantizers'])}")


def _quantizers(names: list[str]) -> str:
    from tersor.methods import describe_quantizer

    described = [describe_quantizer(name) for name in names]
    rows = [[d["name"], d["budget"], ", ".join(d["targets"]), d["summary"]] for d in described]
    return table(["quantizer", "size set by", "for", "what it does"], rows)


def _describe(talk: Talk, name: str) -> None:
    from tersor.methods import describe_quantizer

    result = describe_quantizer(name)
    facts = [
        ["does", result["summary"]],
        ["size", "set by one global step" if result["budget"] == "step" else "set by its options"],
        ["for", ", ".join(result["targets"])],
        ["needs", ", ".join(result["needs"]) or "nothing"],
        ["source", result["source"]],
    ]
    options = [[o["name"], _shown(o["default"]), o["help"]] for o in result["options"]]
    text = table([result["name"], ""], facts)
    if options:
        text += "\n\n" + table(["option", "default", "effect"], options)
    talk.result(result, text)


def _shown(value: Any) -> str:
    """A default as it stands in YAML."""
    if value is None:
        return "-"
    return str(value).lower() if isinstance(value, bool) else str(value)
