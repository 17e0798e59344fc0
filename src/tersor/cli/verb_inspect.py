"""`tersor inspect`: what a path holds."""

from __future__ import annotations

from pathlib import Path

import click

from tersor.cli.options import INPUT, option, verb
from tersor.cli.results import summary
from tersor.cli.talk import Talk


@verb(
    "inspect",
    examples=["tersor inspect small/", "tersor inspect small/ --tensors", "tersor inspect small/ --json"],
    arguments_help={"PATH": "folder of an archive, or one of its files"},
)
@click.argument("path", metavar="PATH", type=INPUT)
@option(
    "--tensors",
    is_flag=True,
    effect="Also print a line for each tensor: shape, dtype, layout, codec, bytes, bits per weight. "
    "(The JSON object always holds them.)",
    unit="flag",
    default_text="the totals alone",
    example="--tensors",
)
def inspect(talk: Talk, path: Path, tensors: bool) -> None:
    """Say what an archive holds, without decoding it."""
    from tersor.archive.inspect import inspect as inspect_path

    result = inspect_path(path)
    talk.result(result, summary(result, with_tensors=tensors))
