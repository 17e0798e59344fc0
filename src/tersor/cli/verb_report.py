"""`tersor report`: one page that shows what was made of a model."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import click

from tersor.cli.options import ARCHIVE, INPUT, option, verb
from tersor.cli.talk import Talk


@verb(
    "report",
    examples=[
        "tersor report small/ -o report.html",
        "tersor report small/ smaller/ -o report.html --original bert/ --title 'BERT on CoNLL-2003'",
        "tersor report small/ -o report.html --evaluation ner.json --json",
    ],
    arguments_help={"OUT": "archives to show: folders, archive files or URLs; 1 to 12"},
)
@click.argument("paths", metavar="OUT ...", nargs=-1, required=True, type=ARCHIVE)
@option(
    "-o",
    "--output",
    type=click.Path(path_type=Path),
    metavar="FILE",
    required=True,
    effect="The page: one HTML file that loads nothing. Written whole or not at all.",
    unit="path of a file that does not exist yet",
    default_text="none, it must be given",
    example="-o report.html",
)
@option(
    "--original",
    type=INPUT,
    metavar="MODEL",
    effect="The model that the archives were made from: sizes are compared with its weight files.",
    unit="path of a checkpoint or archive",
    default_text="the sizes that the archives' tensors had",
    example="--original bert/",
)
@option(
    "--evaluation",
    "evaluations",
    type=INPUT,
    metavar="FILE",
    multiple=True,
    effect="Also show what `tersor evaluate --json` printed into FILE. May be given more than once.",
    unit="path of a JSON file",
    default_text="the evaluations in the archives' histories (`tersor evaluate --record`)",
    example="--evaluation ner.json",
)
@option(
    "--title",
    metavar="TEXT",
    effect="The page's title.",
    unit="text",
    default_text="the archives' names",
    example="--title 'BERT on CoNLL-2003'",
)
@option(
    "--force",
    is_flag=True,
    effect="Replace FILE if it exists.",
    unit="flag",
    default_text="an existing FILE is an error (exit code 2)",
    example="--force",
)
def report(
    talk: Talk,
    paths: Sequence[Path | str],
    output: Path,
    original: Path | None,
    evaluations: Sequence[Path],
    title: str | None,
    force: bool,
) -> None:
    """Show archives on one HTML page: sizes, quality, where the bytes go, how to make them again."""
    from tersor.report import report as write_report

    result = write_report(
        list(paths), output, original=original, evaluations=evaluations, title=title, force=force
    )
    lines = [f"{result['path']}: {result['n_charts']} charts, {result['n_bytes']:,} bytes"]
    lines += [f"missing: {words}" for words in result["missing"]]
    talk.result(result, "\n".join(lines))
