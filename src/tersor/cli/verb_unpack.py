"""`tersor unpack`: the files that were packed, byte for byte."""

from __future__ import annotations

from pathlib import Path

import click

from tersor.cli.options import ARCHIVE, base_option, force_option, output_option, threads_option, verb
from tersor.cli.results import summary
from tersor.cli.talk import Talk


@verb(
    "unpack",
    examples=[
        "tersor unpack packed/ -o bert/",
        "tersor unpack packed/ -o bert/ --force --json",
        "tersor unpack tuned-packed/ -o tuned/ --base bert/",
    ],
    arguments_help={"ARCHIVE": "folder that `tersor pack` wrote"},
)
@click.argument("archive", metavar="ARCHIVE", type=ARCHIVE)
@output_option("Folder for the restored files.", "-o bert/")
@base_option
@force_option
@threads_option
def unpack(talk: Talk, archive: Path, output: Path, base: Path | None, force: bool, threads: int) -> None:
    """Restore every file of a packed checkpoint, byte for byte.

    The SHA-256 of each file is checked while it is written.
    """
    from tersor.packing import unpack as unpack_files

    with talk.progress("unpacking") as progress:
        result = unpack_files(archive, output, base=base, threads=threads, force=force, progress=progress)
    talk.result(result, summary(result))
