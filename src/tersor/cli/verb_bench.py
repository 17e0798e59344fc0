"""`tersor bench`: what tersor does here, beside what else is installed."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from tersor.cli.bench_subjects import SUBJECTS, refuse_options_of_others
from tersor.cli.options import INPUT, option, verb
from tersor.cli.talk import Talk

TEXT = click.Path(exists=True, dir_okay=False, path_type=Path)


@verb(
    "bench",
    examples=[
        "tersor bench lossless",
        "tersor bench lossless model.safetensors --runs 9 --plot ratio.svg",
        "tersor bench lossless bert/ --dtype bf16 --threads 1 --peer tersor --peer zstd --json",
        "tersor bench quality bert/ --task embedding --size 4bpw --size 3bpw --calibration text.txt",
        "tersor bench quality llama/ --task kl --peer ggml --peer-python peers/bin/python --plot kl.svg",
    ],
    arguments_help={
        "SUBJECT": "what to measure: lossless (ratio and speed of `pack` and its peers) or quality (error by "
        "bytes of `compress` and other quantizers)",
        "[MODEL]": "lossless: a folder, whose largest file (with all shards) is taken, or a file; without it MiniLM of "
        "the extra `demo`. quality: a Hugging Face folder",
    },
)
@click.argument("subject", metavar="SUBJECT", type=click.Choice(list(SUBJECTS)))
@click.argument("model", metavar="[MODEL]", type=INPUT, required=False)
@option(
    "--dtype",
    metavar="NAME",
    type=click.Choice(["bf16", "fp16", "fp32"]),
    effect="lossless: cast the model's floats first.",
    unit="bf16, fp16 or fp32",
    default_text="the file as it is",
    example="--dtype bf16",
)
@option(
    "--runs",
    metavar="N",
    type=click.IntRange(min=1),
    default=5,
    effect="lossless: measure everything N times, in turns, after one time that is not counted. More: steadier "
    "medians.",
    unit="times, at least 1",
    default_text="5",
    example="--runs 9",
)
@option(
    "--level",
    "levels",
    metavar="NAME",
    multiple=True,
    effect="lossless: measure this level of tersor; may be given several times.",
    unit="fast, balanced or max",
    default_text="all three",
    example="--level fast",
)
@option(
    "--task",
    metavar="NAME",
    type=click.Choice(["embedding", "kl", "perplexity"]),
    effect="quality: what to measure against the original: error of embeddings, KL divergence, or perplexity.",
    unit="embedding, kl or perplexity",
    default_text="none, quality needs it",
    example="--task kl",
)
@option(
    "--method",
    "methods",
    metavar="NAME",
    multiple=True,
    effect="quality: measure this method of tersor at every --size; may be given several times.",
    unit="name that `tersor methods` lists under quantizers",
    default_text="two_sided",
    example="--method gptq",
)
@option(
    "--size",
    "sizes",
    metavar="SIZE",
    multiple=True,
    effect="quality: measure the methods at this size; may be given several times.",
    unit="as for compress: 0.2x, 12MB or 4bpw",
    default_text="4bpw and 3bpw",
    example="--size 2bpw",
)
@option(
    "--seeds",
    metavar="N",
    type=click.IntRange(min=1),
    default=1,
    effect="quality: compress and measure with the seeds 0 to N-1; figures are means, with standard errors from 2 on.",
    unit="seeds, at least 1",
    default_text="1",
    example="--seeds 3",
)
@option(
    "--calibration",
    metavar="TEXT",
    type=TEXT,
    effect="quality: calibrate tersor, and the peers that take a text, on this one.",
    unit="path of a UTF-8 text file",
    default_text="the built-in text; peers that need a file fail without",
    example="--calibration text.txt",
)
@option(
    "--data",
    metavar="PATH",
    type=TEXT,
    effect="quality: text to measure on; not the text that was used for calibration.",
    unit="path of a UTF-8 text file",
    default_text="the built-in evaluation text",
    example="--data held_out.txt",
)
@option(
    "--threads",
    metavar="N",
    type=click.IntRange(min=1),
    multiple=True,
    effect="Work with N threads. lossless measures each N that is given, all but the least for coders that use them "
    "alone; quality compresses with one N.",
    unit="threads, at least 1",
    default_text="lossless: 1 and 2; quality: 1",
    example="--threads 1",
)
@option(
    "--peer",
    "peers",
    metavar="NAME",
    multiple=True,
    effect="Measure this peer; may be given several times. Those that are not installed are listed as such.",
    unit="lossless: memcpy, tersor, zstd, zipnn, pcodec, openzl or lmzip; quality: half, ggml, hqq, nncodec, "
    "llmcompressor or autoround",
    default_text="all of them",
    example="--peer zstd",
)
@option(
    "--peer-python",
    "peer_pythons",
    metavar="PYTHON",
    type=click.Path(),
    multiple=True,
    envvar="TERSOR_PEER_PYTHON",
    effect="Look for peers that are not installed beside tersor in another environment; may be given several times.",
    unit="path of its Python interpreter",
    default_text="the environment variable TERSOR_PEER_PYTHON (several separated as in PATH), else none",
    example="--peer-python peers/bin/python",
)
@option(
    "--peer-setting",
    "peer_settings",
    metavar="SETTING",
    multiple=True,
    effect="quality: measure the peers at this of their settings; may be given several times.",
    unit="a setting, such as Q4_K_M of ggml",
    default_text="all settings of every peer",
    example="--peer-setting Q4_K_M",
)
@option(
    "--peer-model",
    metavar="FOLDER",
    type=click.Path(exists=True, file_okay=False, path_type=Path),
    effect="quality: let the peers quantize this model, one of the same function that suits their formats better.",
    unit="path of a Hugging Face folder",
    default_text="MODEL",
    example="--peer-model balanced/",
)
@option(
    "--plot",
    metavar="FILE.svg",
    type=click.Path(dir_okay=False, writable=True, path_type=Path),
    effect="Also draw the result: ratio against decoding speed, or error against bits per parameter. Replaces FILE.",
    unit="path of an SVG file",
    default_text="no picture",
    example="--plot ratio.svg",
)
def bench(talk: Talk, subject: str, model: Path | None, plot: Path | None, **options: Any) -> None:
    """Measure tersor on this machine, beside every peer that is installed.

    lossless: ratios count every byte that has to be stored. encode and decode are from memory to memory: decode into
    memory that exists (tersor: from an archive that is open and was read before), decode cold from the start into new
    memory. pack and unpack are from file to file. Everything restored is compared byte for byte; a difference ends the
    measurement with exit code 3.

    quality: every method at every size, then every peer at each of its settings, each followed by tersor's leading
    method at the bytes that the peer took. Bytes are those of the whole weight file; of peers, of all tensors in their
    own format. The error is measured on text that no calibration saw, of the model that each one restores.
    """
    from tersor.errors import UsageError

    refuse_options_of_others(click.get_current_context(), subject)
    if plot is not None and not plot.absolute().parent.is_dir():
        raise UsageError(f"--plot {plot}: the folder {plot.parent} does not exist; make it or name another")
    chosen = SUBJECTS[subject]
    with talk.progress(f"measuring {subject}") as progress:
        result = chosen.measure(model, options, progress)
    if plot is not None:
        plot.write_text(chosen.draw(result), encoding="utf-8")
    talk.result(result, chosen.text(result))
