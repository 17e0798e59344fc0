"""`tersor verify`: is every byte what it should be?"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import click

from tersor.cli.options import ARCHIVE, INPUT, base_option, option, threads_option, verb
from tersor.cli.talk import Talk
from tersor.errors import CorruptError


@verb(
    "verify",
    examples=["tersor verify packed/", "tersor verify packed/ --against bert/ --json"],
    arguments_help={"ARCHIVE": "folder of an archive, one of its files, or the URL of either"},
)
@click.argument("archive", metavar="ARCHIVE", type=ARCHIVE)
@option(
    "--against",
    type=INPUT,
    metavar="MODEL",
    effect="Also compare with the original: a packed archive file by file, a compressed one by the names "
    "and shapes of its tensors.",
    unit="path of the original checkpoint",
    default_text="the archive's own checksums alone",
    example="--against bert/",
)
@base_option
@threads_option
def verify(talk: Talk, archive: Path | str, against: Path | None, base: Path | None, threads: int) -> int:
    """Decode an archive and check every checksum in it.

    Lists all problems and exits with 3 if there is any.
    """
    from tersor.archive.verify import verify as verify_archive

    with talk.progress("verifying") as progress:
        result = verify_archive(archive, against=against, base=base, threads=threads, progress=progress)
    talk.result(result, _report(archive, result))
    return 0 if result["ok"] else CorruptError.exit_code


def _report(archive: Path | str, result: Mapping[str, Any]) -> str:
    checked = f"{result['n_files']} files, {result['n_tensors']} tensors, {result['n_blocks']} blocks"
    problems = result["problems"]
    if not problems and result["ok"]:
        return f"{archive}: ok ({checked})"
    lines = [f"{archive}: {len(problems)} problems ({checked})", *[f"  {problem}" for problem in problems]]
    return "\n".join(lines)
