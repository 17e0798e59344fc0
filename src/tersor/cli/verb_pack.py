"""`tersor pack`: lossless only."""

from __future__ import annotations

from pathlib import Path

import click

from tersor.cli.options import (
    INPUT,
    dry_run_option,
    force_option,
    option,
    output_option,
    threads_option,
    verb,
)
from tersor.cli.results import summary
from tersor.cli.table import bytes_text, table
from tersor.cli.talk import Talk


@verb(
    "pack",
    examples=[
        "tersor pack bert/ -o packed/",
        "tersor pack bert/ -o packed/ --level fast --threads 2 --json",
        "tersor pack bert/ -o packed/ --level max",
        "tersor pack tuned/ -o packed/ --base bert/",
        "tersor pack model.safetensors -o packed/ --codec huffman",
    ],
    arguments_help={"MODEL": "folder of a checkpoint (nested folders too), or any single file"},
)
@click.argument("model", metavar="MODEL", type=INPUT)
@output_option("Folder for the archive.", "-o packed/")
@option(
    "--base",
    type=INPUT,
    metavar="BASE",
    effect="Store tensors as differences from those of BASE, the model that MODEL was made from, where that takes "
    "less. The archive then opens only where BASE is.",
    unit="path of a checkpoint or archive",
    default_text="every tensor by itself",
    example="--base bert/",
)
@option(
    "--level",
    metavar="NAME",
    default="balanced",
    effect="How hard to try: fast (quickest both ways), balanced (smaller) or max (smallest, slower both ways).",
    unit="name",
    default_text="balanced",
    example="--level fast",
)
@option(
    "--codec",
    metavar="NAME",
    default="auto",
    effect="Entropy coder of every stream: auto (the smallest, measured per stream) or a codec that "
    "`tersor methods` lists, such as rans, huffman, lzw or zstd.",
    unit="name",
    default_text="auto",
    example="--codec zstd",
)
@force_option
@threads_option
@dry_run_option
def pack(
    talk: Talk,
    model: Path,
    output: Path,
    base: Path | None,
    level: str,
    codec: str,
    force: bool,
    threads: int,
    dry_run: bool,
) -> None:
    """Make a checkpoint smaller without losing a bit.

    Writes an archive that `AutoModel.from_pretrained` opens (after `import tersor`) and that `tersor unpack`
    turns back into the same files, byte for byte.
    """
    if dry_run:
        _check_names(level, codec)
        _show_plan(talk, model, output, force)
        return
    from tersor.packing import pack as pack_files

    with talk.progress("packing") as progress:
        result = pack_files(
            model,
            output,
            base=base,
            level=level,
            codec=codec,
            threads=threads,
            force=force,
            progress=progress,
        )
    for line in result["log"]:
        talk.note(line)
    talk.result(result, summary(result))


def _check_names(level: str, codec: str) -> None:
    from tersor.codec import CODECS
    from tersor.errors import UnknownNameError
    from tersor.packing import AUTO, LEVELS
    from tersor.registry import did_you_mean

    for what, name, known in (("level", level, LEVELS), ("codec", codec, (AUTO, *CODECS.names()))):
        if name not in known:
            raise UnknownNameError(
                f"unknown {what} {name!r}{did_you_mean(name, known)} Known: {', '.join(known)}."
            )


def _show_plan(talk: Talk, model: Path, output: Path, force: bool) -> None:
    from tersor.output import OutputFolder
    from tersor.sources.folder import scan

    checkpoint = scan(model)
    OutputFolder(output, force=force, inputs=[model])  # its constructor makes every check and writes nothing
    files = [
        {"path": entry.relative, "n_bytes": entry.n_bytes, "role": str(entry.role)}
        for entry in checkpoint.files
    ]
    plan = {
        "dry_run": True,
        "input": {"path": str(model), "n_bytes": checkpoint.n_bytes},
        "output": {"path": str(output)},
        "files": files,
    }
    rows = [[entry.relative, bytes_text(entry.n_bytes), str(entry.role)] for entry in checkpoint.files]
    total = f"{len(files)} files, {bytes_text(checkpoint.n_bytes)}; nothing was written"
    talk.result(plan, f"{table(['file', 'size', 'role'], rows)}\n\n{total}")
