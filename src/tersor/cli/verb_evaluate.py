"""`tersor evaluate`: one table, the original beside what was made of it."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import click

from tersor.cli.options import INPUT, option, seed_option, verb
from tersor.cli.talk import Talk
from tersor.errors import MissingExtraError


@verb(
    "evaluate",
    examples=[
        "tersor evaluate bert/ small/ --task embedding",
        "tersor evaluate llama/ small/ smaller/ --task perplexity --data held_out.txt --json",
    ],
    arguments_help={"MODEL": "the original first, then any number of archives or checkpoints made from it"},
)
@click.argument("models", metavar="MODEL [OUT ...]", nargs=-1, required=True, type=INPUT)
@option(
    "--task",
    metavar="NAME",
    required=True,
    effect="What to measure: embedding (1 - cosine to the original), perplexity, kl (to the original's "
    "distribution), or another task that `tersor methods` lists.",
    unit="name",
    default_text="none, it must be given",
    example="--task embedding",
)
@option(
    "--data",
    type=INPUT,
    metavar="PATH",
    effect="Text to measure on; not the text that was used for calibration.",
    unit="path of a UTF-8 text file",
    default_text="the built-in evaluation text",
    example="--data held_out.txt",
)
@option(
    "--threads",
    type=click.IntRange(min=1),
    metavar="N",
    effect="Let torch use N threads. More can change the last digits of a figure.",
    unit="threads, at least 1",
    default_text="torch's own choice",
    example="--threads 1",
)
@seed_option
def evaluate(
    talk: Talk,
    models: Sequence[Path],
    task: str,
    data: Path | None,
    threads: int | None,
    seed: int | None,
) -> None:
    """Measure models against their original; each figure comes with n and its standard error."""
    from tersor.evaluate import evaluate as measure

    if threads is not None:
        _limit_torch(threads)
    with talk.progress("measuring") as progress:
        result = measure(list(models), task=task, data=data, seed=seed or 0, progress=progress)
    talk.result(result.to_json(), result.table())


def _limit_torch(threads: int) -> None:
    try:
        import torch
    except ModuleNotFoundError as exc:
        raise MissingExtraError(
            "evaluate needs torch, which is not installed; run: pip install 'tersor[torch]'"
        ) from exc
    torch.set_num_threads(threads)
