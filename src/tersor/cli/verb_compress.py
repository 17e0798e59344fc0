"""`tersor compress`: to a size that the caller names."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import click

from tersor.cli.options import (
    INPUT,
    dry_run_option,
    force_option,
    option,
    output_option,
    seed_option,
    threads_option,
    verb,
)
from tersor.cli.results import summary
from tersor.cli.table import shape_text, table
from tersor.cli.talk import Talk


@verb(
    "compress",
    examples=[
        "tersor compress bert/ -o small/ --size 0.15x",
        "tersor compress bert/ -o small/ --size 12MB --calibration text.txt",
        "tersor compress bert/ -o small/ --recipe recipe.yaml --dry-run",
    ],
    arguments_help={"MODEL": "folder of a Hugging Face checkpoint with its config.json and tokenizer"},
)
@click.argument("model", metavar="MODEL", type=INPUT)
@output_option("Folder for the archive.", "-o small/")
@option(
    "--size",
    metavar="SIZE",
    effect="The most that OUT's weight files may take, everything in them included. "
    "Smaller: more error; `tersor evaluate` measures it.",
    unit="x of the original's weight files (0.2x), bytes (45MB, 45MiB, 450kB) or bits per parameter (3.2bpw)",
    default_text="the recipe's size; one of the two must be given",
    example="--size 0.2x",
)
@option(
    "--recipe",
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
    metavar="R.yaml",
    effect="Read size, method, calibration and seed from a recipe; options given beside it win.",
    unit="path of a YAML file",
    default_text="no recipe",
    example="--recipe recipe.yaml",
)
@option(
    "--calibration",
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
    metavar="TEXT",
    effect="Text like what the model will see. The closer it is, the smaller the error at the same size.",
    unit="path of a UTF-8 text file",
    default_text="the built-in text",
    example="--calibration text.txt",
)
@force_option
@threads_option
@seed_option
@dry_run_option
def compress(
    talk: Talk,
    model: Path,
    output: Path,
    size: str | None,
    recipe: Path | None,
    calibration: Path | None,
    force: bool,
    threads: int,
    seed: int | None,
    dry_run: bool,
) -> None:
    """Make a model smaller, to a size you name, by calibrated quantization.

    Writes an archive that `AutoModel.from_pretrained` opens (after `import tersor`).
    """
    from tersor.recipe import resolve_recipe

    chosen = resolve_recipe(recipe, size=size, calibration=calibration, seed=seed)  # before torch is imported
    from tersor.pipeline import compress as compress_model
    from tersor.process import return_freed_memory

    if chosen.calibration is None:
        talk.note(
            "calibrating on the built-in text; text like what the model will see (--calibration) is better"
        )
    return_freed_memory()
    with talk.progress("compressing") as progress:
        result = compress_model(
            model,
            output,
            recipe=chosen,
            threads=threads,
            force=force,
            dry_run=dry_run,
            progress=progress,
        )
    talk.result(result, _plan(result) if dry_run else summary(result))


def _plan(result: Mapping[str, Any]) -> str:
    """Return the text of a dry run: the target, and what would become of each tensor and why."""
    columns = ("tensor", "shape", "dtype", "layout", "method", "why")
    rows = [
        [t["name"], shape_text(t["shape"]), t["dtype"], t["layout"], t["method"], t["reason"]]
        for t in result["tensors"]
    ]
    return f"{table(columns, rows)}\n\n{summary(result)}\nnothing was written"
