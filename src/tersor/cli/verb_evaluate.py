"""`tersor evaluate`: one table, the original beside what was made of it."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from tersor.cli.options import INPUT, option, seed_option, verb
from tersor.cli.talk import Talk
from tersor.errors import MissingExtraError

if TYPE_CHECKING:
    from tersor.evaluate.options import OptionWords


class Numbers(click.ParamType):  # type: ignore[type-arg]  # newer click's are generic
    """Whole numbers of at least 1, separated by commas: "1,8"."""

    name = "numbers"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        if isinstance(value, list):
            return value
        parts = [part.strip() for part in str(value).split(",")]
        if not all(part.isdecimal() and int(part) > 0 for part in parts):
            self.fail(f"{value!r} is no list of whole numbers of at least 1, such as 1,8", param, ctx)
        return [int(part) for part in parts]


NUMBERS = Numbers()


@verb(
    "evaluate",
    examples=[
        "tersor evaluate bert/ small/ --task embedding",
        "tersor evaluate bert_ner/ small/ smaller/ --task ner --data conll2003/ --record",
        "tersor evaluate llama/ small/ smaller/ --task perplexity --data held_out.txt --json",
        "tersor evaluate bert/ small/ --task speed --lengths 128 --batches 1,8 --threads 1",
    ],
    arguments_help={"MODEL": "the original first, then any number of archives or checkpoints made from it"},
)
@click.argument("models", metavar="MODEL [OUT ...]", nargs=-1, required=True, type=INPUT)
@option(
    "--task",
    metavar="NAME",
    required=True,
    effect="What to measure: ner (named entities: precision, recall, F1 by type and by tag), classification (accuracy, "
    "macro F1, MCC), perplexity, kl (to the original's distribution), embedding (1 - cosine to the original), speed "
    "(latency, tokens per second, load time, memory), or another task that `tersor methods` lists.",
    unit="name",
    default_text="none, it must be given",
    example="--task embedding",
)
@option(
    "--data",
    type=INPUT,
    metavar="PATH",
    effect="Data to measure on; not what was used for training or calibration. ner: CoNLL columns, JSONL, or a folder "
    "that `datasets` saved; classification: CSV, TSV, JSONL, or such a folder; the others: UTF-8 text. A folder with "
    "files named like splits (eng.testb, test.jsonl, ...) will do.",
    unit="path of a file or folder",
    default_text="the built-in evaluation text for tasks on text; ner and classification need data",
    example="--data conll2003/eng.testb",
)
@option(
    "--split",
    type=click.Choice(["train", "dev", "test"]),
    metavar="NAME",
    effect="Which split of a data folder: train, dev or test.",
    unit="name",
    default_text="test if the folder has one, else the only one there is",
    example="--split dev",
)
@option(
    "--limit",
    type=click.IntRange(min=2),
    metavar="N",
    effect="Measure on N sentences, texts or windows only, the first ones (embedding: drawn by --seed).",
    unit="items, at least 2",
    default_text="all (perplexity and kl: 64 windows of 512 tokens; embedding: 300 sentences)",
    example="--limit 500",
)
@option(
    "--stride",
    type=click.IntRange(min=1),
    metavar="N",
    effect="Let windows of text overlap: each begins N tokens after the one before, and only its last N tokens count "
    "(perplexity). Smaller: more context for each token, more time.",
    unit="tokens, at most the length of a window, 512",
    default_text="the length of a window: no overlap",
    example="--stride 256",
)
@option(
    "--text-column",
    metavar="NAME",
    multiple=True,
    effect="The column that holds the texts (classification); twice for pairs of texts.",
    unit="name of a column",
    default_text="text, sentence, content, ..., or sentence1 and sentence2, whichever is there",
    example="--text-column review",
)
@option(
    "--label-column",
    metavar="NAME",
    effect="The column that holds the labels (classification).",
    unit="name of a column",
    default_text="label, labels, category, ..., whichever is there",
    example="--label-column stars",
)
@option(
    "--lengths",
    type=NUMBERS,
    metavar="N,...",
    effect="Lengths of the sequences that are timed (speed).",
    unit="tokens, numbers separated by commas",
    default_text="32,128",
    example="--lengths 64,256",
)
@option(
    "--batches",
    type=NUMBERS,
    metavar="N,...",
    effect="How many sequences are run at once (speed); each with each length.",
    unit="sequences, numbers separated by commas",
    default_text="1,8",
    example="--batches 1,16",
)
@option(
    "--rounds",
    type=click.IntRange(min=5),
    metavar="N",
    effect="How often each model runs each shape, in turn with the others (speed).",
    unit="rounds, at least 5",
    default_text="20",
    example="--rounds 50",
)
@option(
    "--record",
    is_flag=True,
    effect="Append the figures to the history of each archive measured; `tersor inspect` and `tersor report` show it. "
    "No other file changes.",
    unit="flag",
    default_text="print only",
    example="--record",
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
    text_column: tuple[str, ...],
    batches: list[int] | None,
    record: bool,
    threads: int | None,
    seed: int | None,
    **options: Any,
) -> None:
    """Measure models against their original: every figure with its standard error, every difference with a paired
    test."""
    from tersor.evaluate import evaluate as measure

    if threads is not None:
        _limit_torch(threads)
    options |= {"text_column": text_column or None, "batch_sizes": batches}
    given: OptionWords = {name: value for name, value in options.items() if value is not None}  # type: ignore[assignment]
    with talk.progress("measuring") as progress:
        result = measure(
            list(models), task=task, data=data, seed=seed or 0, progress=progress, record=record, **given
        )
    talk.result(result.to_json(), result.table())


def _limit_torch(threads: int) -> None:
    try:
        import torch
    except ModuleNotFoundError as exc:
        raise MissingExtraError(
            "evaluate needs torch, which is not installed; run: pip install 'tersor[torch]'"
        ) from exc
    torch.set_num_threads(threads)
