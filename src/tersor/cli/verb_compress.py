"""`tersor compress`: to a size or a loss that the caller names."""

from __future__ import annotations

from pathlib import Path

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
from tersor.cli.plan import plan_text, result_text
from tersor.cli.talk import Talk

# As in tersor.recipe, which would import numpy for every --help (a test keeps them equal).
METRICS = ("perplexity", "kl", "embedding")
PURPOSES = ("storage", "cpu", "gguf", "vllm")


@verb(
    "compress",
    examples=[
        "tersor compress bert/ -o small/ --size 0.15x",
        "tersor compress bert/ -o small/ --size 12MB --calibration text.txt",
        "tersor compress gpt2/ -o small/ --max-loss 1% --metric perplexity --calibration text.txt",
        "tersor compress gpt2/ -o small/ --size 0.3x --for vllm",
        "tersor compress bert/ -o small/ --size 0.15x --for cpu --max-latency 0.8x",
        "tersor compress bert/ -o small/ --recipe fast-encoder",
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
    default_text="the recipe's size or loss; one of them must be given unless the method's options set the size",
    example="--size 0.2x",
)
@option(
    "--max-loss",
    metavar="LOSS",
    effect="Make the smallest file that loses no more than this on text that calibration does not see; every file "
    "tried is evaluated.",
    unit="% of the metric (1%), or nats of KL divergence (0.02nats)",
    default_text="a size decides",
    example="--max-loss 1%",
)
@option(
    "--metric",
    type=click.Choice(METRICS),
    metavar="METRIC",
    effect="What --max-loss measures: relative increase of perplexity, nats of KL divergence per prediction, or "
    "1 - cosine of embeddings.",
    unit="name of a metric",
    default_text="perplexity for causal language models, kl for other models with logits, else embedding",
    example="--metric kl",
)
@option(
    "--max-latency",
    metavar="TIME",
    effect="Remove heads, neurons and, if need be, layers until one pass over the model (128 tokens; of a language "
    "model one) takes no longer on one thread of this machine; which shares move the output least is decided by scores "
    "on the text and by measured times of kernels. Beside --size or --max-loss.",
    unit="x of the original's time (0.8x), ms or s (12ms)",
    default_text="nothing is removed",
    example="--max-latency 0.8x",
)
@option(
    "--for",
    "purpose",
    type=click.Choice(PURPOSES),
    metavar="TARGET",
    effect="Use only what this program can run: storage (any loader of tersor), cpu (int8 rows, int4 groups), gguf "
    "(blocks of llama.cpp), vllm (group-quantized linear layers, all else kept).",
    unit="name of a target",
    default_text="storage",
    example="--for vllm",
)
@option(
    "--recipe",
    metavar="R.yaml",
    effect="Read size or loss, steps or method, exceptions, calibration and seed from a recipe (see `tersor recipe`); "
    "options given beside it win.",
    unit="path of a YAML file, or name of a recipe that comes with tersor (`tersor recipe list`)",
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
@option(
    "--resume",
    is_flag=True,
    effect="Go on from what an interrupted run with the same arguments had measured; the result has the same bytes. "
    "Statistics are kept in the cache ($TERSOR_CACHE) either way.",
    unit="flag",
    default_text="measure anew",
    example="--resume",
)
def compress(
    talk: Talk,
    model: Path,
    output: Path,
    size: str | None,
    max_loss: str | None,
    metric: str | None,
    max_latency: str | None,
    purpose: str | None,
    recipe: str | None,
    calibration: Path | None,
    force: bool,
    threads: int,
    seed: int | None,
    dry_run: bool,
    resume: bool,
) -> None:
    """Make a model smaller, to a size you name, by calibrated quantization, pruning and low rank.

    Writes an archive that `AutoModel.from_pretrained` opens (after `import tersor`).
    """
    from tersor.recipe import resolve_recipe

    chosen = resolve_recipe(  # before torch is imported
        recipe,
        size=size,
        max_loss=max_loss,
        metric=metric,
        max_latency=max_latency,
        purpose=purpose,
        calibration=calibration,
        seed=seed,
    )
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
            resume=resume,
            progress=progress,
        )
    talk.result(result, plan_text(result) if dry_run else result_text(result))
