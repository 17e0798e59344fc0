"""`tersor methods`: what is installed, and what a method's options are."""

from __future__ import annotations

from typing import Any

import click

from tersor.cli.options import verb
from tersor.cli.table import table
from tersor.cli.talk import Talk


@verb(
    "methods",
    examples=["tersor methods", "tersor methods awq", "tersor methods sparsegpt", "tersor methods --json"],
    arguments_help={
        "[NAME]": "a quantizer, pruner, factorizer or structured step: show what it does, its options and its source"
    },
)
@click.argument("name", metavar="[NAME]", required=False)
def methods(talk: Talk, name: str | None) -> None:
    """List the codecs, quantizers, pruners and other methods that are installed, or describe one.

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
    parts = [table(["kind", "names"], kinds), _quantizers(result["quantizers"])]
    others = (("pruners", "pruner"), ("lowrank", "low rank"), ("structured", "structured step"))
    parts += [_others(title, result[kind]) for kind, title in others]
    talk.result(result, "\n\n".join(parts))


def _quantizers(names: list[str]) -> str:
    from tersor.methods import describe_method

    described = [describe_method(name) for name in names]
    rows = [[d["name"], d["budget"], ", ".join(d["targets"]), d["summary"]] for d in described]
    return table(["quantizer", "size set by", "for", "what it does"], rows)


def _others(title: str, names: list[str]) -> str:
    from tersor.methods import describe_method

    described = [describe_method(name) for name in names]
    return table([title, "needs", "what it does"], [[d["name"], _needs(d), d["summary"]] for d in described])


def _describe(talk: Talk, name: str) -> None:
    from tersor.methods import describe_method

    result = describe_method(name)
    facts = [["does", result["summary"]]]
    if result["budget"] is not None:
        facts.append(
            ["size", "set by one global step" if result["budget"] == "step" else "set by its options"]
        )
        facts.append(["for", ", ".join(result["targets"])])
    facts += [["needs", _needs(result)], ["source", result["source"]]]
    options = [[o["name"], _shown(o["default"]), o["help"]] for o in result["options"]]
    text = table([result["name"], ""], facts)
    if options:
        text += "\n\n" + table(["option", "default", "effect"], options)
    talk.result(result, text)


def _needs(described: dict[str, Any]) -> str:
    return ", ".join(described["needs"]) or "nothing"


def _shown(value: Any) -> str:
    """A default as it stands in YAML."""
    if value is None:
        return "-"
    return str(value).lower() if isinstance(value, bool) else str(value)
