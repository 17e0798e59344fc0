"""`tersor finetune`: train a model for a task, within a size."""

from __future__ import annotations

from pathlib import Path

import click

from tersor.cli.options import INPUT, force_option, option, output_option, seed_option, threads_option, verb
from tersor.cli.table import figure, table
from tersor.cli.talk import Talk

# As in tersor.finetune, which would import torch for every --help (a test keeps them equal).
TASKS = ("ner", "classification", "lm")
MODES = ("small", "codes")
TRACKERS = ("tensorboard", "wandb", "none")


@verb(
    "finetune",
    examples=[
        "tersor finetune bert/ -o tagger/ --task ner --data conll2003/",
        "tersor finetune bert/ -o small/ --task ner --data conll2003/ --size 0.0625x",
        "tersor finetune small/ -o better/ --task ner --data conll2003/ --teacher tagger/",
        "tersor finetune bert/ -o ternary/ --task ner --data conll2003/ --recipe ternary.yaml --train codes",
        "tersor finetune gpt2.small/ -o tuned/ --task lm --data text.txt --teacher gpt2/ --set max_steps=100",
    ],
    arguments_help={
        "MODEL": "folder of a Hugging Face checkpoint, or an archive that `tersor compress` wrote"
    },
)
@click.argument("model", metavar="MODEL", type=INPUT)
@output_option(
    "Folder for the trained model: a plain checkpoint, or an archive if a size or recipe is given.",
    "-o small/",
)
@option(
    "--task",
    type=click.Choice(TASKS),
    metavar="TASK",
    required=True,
    effect="What to train for: ner (named entities), classification (of texts), lm (the next token).",
    unit="name of a task",
    default_text="none, it must be given",
    example="--task ner",
)
@option(
    "--data",
    type=click.Path(exists=True, path_type=Path),
    metavar="PATH",
    required=True,
    effect="A folder with training, development and test data by the usual names (train, dev, test; eng.testa), or the "
    "training file alone, of which a tenth is then held out: CoNLL columns, JSONL, CSV, TSV, text, or what "
    "`datasets` saved.",
    unit="path of a folder or file",
    default_text="none, it must be given",
    example="--data conll2003/",
)
@option(
    "--size",
    metavar="SIZE",
    effect="The most that OUT's weight files may take. A plain MODEL is trained, compressed to it and tuned.",
    unit="x of the original's weight files (0.0625x), bytes (45MB) or bits per parameter (2bpw)",
    default_text="a plain MODEL stays plain; an archive keeps its size",
    example="--size 0.0625x",
)
@option(
    "--recipe",
    metavar="R.yaml",
    effect="Compress the trained model by this recipe (see `tersor recipe`); --size wins over its size.",
    unit="path of a YAML file, or the name of a shipped recipe",
    default_text="the leading method, if a size is given",
    example="--recipe ternary.yaml",
)
@option(
    "--teacher",
    type=click.Path(exists=True, file_okay=False, path_type=Path),
    metavar="MODEL",
    effect="The original of an archive, trained for the task: outputs are drawn towards its own (distillation).",
    unit="path of a folder",
    default_text="for a plain MODEL the trained original, for an archive none",
    example="--teacher tagger/",
)
@option(
    "--train",
    type=click.Choice(MODES),
    metavar="WHAT",
    effect="What of a compressed model learns: small (norms, biases and head; codes stay), or codes (codes and steps "
    "too, with gradients straight through the rounding).",
    unit="small or codes",
    default_text="small",
    example="--train codes",
)
@option(
    "--epochs",
    type=click.FloatRange(min=0),
    metavar="N",
    effect="How often the training data are gone through, at most: training ends early when nothing gets better. 0: a "
    "plain MODEL is trained for the task already, so only compression and tuning are left.",
    unit="epochs",
    default_text="6 on a plain MODEL; 200 steps on frozen codes, 2 on codes",
    example="--epochs 3",
)
@option(
    "--set",
    "assignments",
    multiple=True,
    metavar="NAME=VALUE",
    effect="Another setting, as often as needed: learning_rate, batch_size, max_steps, warmup, weight_decay, patience, "
    "evaluations, distill, labels, hidden, temperature, rate, ...; tune.NAME: of the tuning after compression.",
    unit="name and number",
    default_text="docs/finetune.md lists them",
    example="--set tune.max_steps=400",
)
@option(
    "--report-to",
    "trackers",
    type=click.Choice(TRACKERS),
    multiple=True,
    metavar="TRACKER",
    effect="Follow the training in TensorBoard (events in OUT.runs) or Weights & Biases.",
    unit="tensorboard, wandb or none",
    default_text="none",
    example="--report-to tensorboard",
)
@option(
    "--resume",
    is_flag=True,
    effect="Go on where an interrupted run with the same arguments stopped; the result has the same bytes.",
    unit="flag",
    default_text="start anew",
    example="--resume",
)
@force_option
@threads_option
@seed_option
def finetune(
    talk: Talk,
    model: Path,
    output: Path,
    task: str,
    data: Path,
    size: str | None,
    recipe: str | None,
    teacher: Path | None,
    train: str | None,
    epochs: float | None,
    assignments: tuple[str, ...],
    trackers: tuple[str, ...],
    resume: bool,
    force: bool,
    threads: int,
    seed: int | None,
) -> None:
    """Train a model for a task; the result still meets its size.

    A plain MODEL is trained on the labels and, if a size is given, compressed and tuned against the trained original.
    An archive is trained in the form in which it is stored.
    """
    from tersor.finetune.settings import parse_assignments

    settings = parse_assignments(assignments)
    if epochs is not None:
        settings["epochs"] = epochs
    from tersor.finetune import finetune as finetune_model

    with talk.progress("fine-tuning") as progress:
        result = finetune_model(
            model,
            output,
            task=task,
            data=data,
            size=size,
            recipe=recipe,
            teacher=teacher,
            train=train,
            settings=settings,
            seed=seed or 0,
            threads=threads,
            report_to=trackers,
            resume=resume,
            force=force,
            progress=progress,
        )
    talk.result(result, _text(result))


def _text(result: dict[str, object]) -> str:
    """Sizes, and the metrics after each stage."""
    from tersor.cli.results import summary

    stages: list[dict[str, list[dict[str, object]]]] = result["stages"]  # type: ignore[assignment]
    measured = {str(stage["stage"]): _by_name(stage["metrics"]) for stage in stages}
    names = list(dict.fromkeys(name for found in measured.values() for name in found))
    rows = [[name, *(figure(found.get(name), 4) for found in measured.values())] for name in names]
    return f"{summary(result)}\n\n{table(['metric', *measured], rows)}"


def _by_name(metrics: list[dict[str, object]]) -> dict[str, object]:
    return {f"{row['split']} {row['name']}": row["value"] for row in metrics}
