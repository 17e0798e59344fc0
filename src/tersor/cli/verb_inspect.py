"""`tersor inspect`: what a path holds."""

from __future__ import annotations

from pathlib import Path

import click

from tersor.cli.history import history_text
from tersor.cli.options import ARCHIVE, option, verb
from tersor.cli.results import summary
from tersor.cli.talk import Talk


@verb(
    "inspect",
    examples=["tersor inspect small/", "tersor inspect small/ --tensors", "tersor inspect small/ --json"],
    arguments_help={"PATH": "folder of an archive, one of its files, or the URL of either"},
)
@click.argument("path", metavar="PATH", type=ARCHIVE)
@option(
    "--tensors",
    is_flag=True,
    effect="Also print a line for each tensor: shape, dtype, layout, codec, bytes, bits per weight. "
    "(The JSON object always holds them.)",
    unit="flag",
    default_text="the totals alone",
    example="--tensors",
)
def inspect(talk: Talk, path: Path | str, tensors: bool) -> None:
    """Say what an archive holds, without decoding it."""
    from tersor.archive.inspect import inspect as inspect_path

    result = inspect_path(path)
    text = summary(result, with_tensors=tensors)
    base = result["base"]
    if base is not None:
        place = base["path"] or "a place not recorded"
        text += f"\n\nneeds its base, content hash {base['blake3']}, which was at {place} from here"
    if result["history"]:
        text += f"\n\nhistory:\n{history_text(result['history'])}"
    talk.result(result, text)
