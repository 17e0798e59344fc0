"""`tersor bench`: what tersor does here, beside what else is installed."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import click

from tersor.cli.options import INPUT, option, verb
from tersor.cli.table import table
from tersor.cli.talk import Talk


@verb(
    "bench",
    examples=[
        "tersor bench lossless",
        "tersor bench lossless model.safetensors --runs 9 --plot ratio.svg",
        "tersor bench lossless bert/ --dtype bf16 --threads 1 --peer tersor --peer zstd --json",
    ],
    arguments_help={
        "SUBJECT": "what to measure: lossless (ratio and speed of `pack` and its peers)",
        "[MODEL]": "a folder, whose largest file is taken, or a file; without it MiniLM of the extra `demo`",
    },
)
@click.argument("subject", metavar="SUBJECT", type=click.Choice(["lossless"]))
@click.argument("model", metavar="[MODEL]", type=INPUT, required=False)
@option(
    "--dtype",
    metavar="NAME",
    type=click.Choice(["bf16", "fp16", "fp32"]),
    effect="Cast the model's floats first.",
    unit="bf16, fp16 or fp32",
    default_text="the file as it is",
    example="--dtype bf16",
)
@option(
    "--runs",
    metavar="N",
    type=click.IntRange(min=1),
    default=5,
    effect="Measure everything N times, in turns, after one time that is not counted. More: steadier medians.",
    unit="times, at least 1",
    default_text="5",
    example="--runs 9",
)
@option(
    "--threads",
    metavar="N",
    type=click.IntRange(min=1),
    multiple=True,
    default=(1, 2),
    effect="Measure with N threads; may be given several times. All but the least are for coders that use them.",
    unit="threads, at least 1",
    default_text="1 and 2",
    example="--threads 1",
)
@option(
    "--level",
    "levels",
    metavar="NAME",
    multiple=True,
    effect="Measure this level of tersor; may be given several times.",
    unit="fast, balanced or max",
    default_text="all three",
    example="--level fast",
)
@option(
    "--peer",
    "peers",
    metavar="NAME",
    multiple=True,
    effect="Measure this coder; may be given several times. Those that are not installed are listed as such.",
    unit="memcpy, tersor, zstd, zipnn, pcodec, openzl or lmzip",
    default_text="all of them",
    example="--peer zstd",
)
@option(
    "--peer-python",
    metavar="PYTHON",
    envvar="TERSOR_PEER_PYTHON",
    effect="Look for coders that are not installed beside tersor in another environment.",
    unit="path of its Python interpreter",
    default_text="the environment variable TERSOR_PEER_PYTHON, else none",
    example="--peer-python peers/bin/python",
)
@option(
    "--plot",
    metavar="FILE.svg",
    type=click.Path(dir_okay=False, writable=True, path_type=Path),
    effect="Also draw ratio against decoding speed. Replaces FILE.",
    unit="path of an SVG file",
    default_text="no picture",
    example="--plot ratio.svg",
)
def bench(
    talk: Talk,
    subject: str,
    model: Path | None,
    dtype: str | None,
    runs: int,
    threads: Sequence[int],
    levels: Sequence[str],
    peers: Sequence[str],
    peer_python: str | None,
    plot: Path | None,
) -> None:
    """Measure ratio and speed on this machine, beside every peer that is installed.

    Ratios count every byte that has to be stored. encode and decode are from memory to memory: decode into memory that
    exists (tersor: from an archive that is open and was read before), decode cold from the start into new memory. pack
    and unpack are from file to file. Everything restored is compared byte for byte; a difference ends the measurement
    with exit code 3.
    """
    from tersor.bench.lossless import measure_lossless
    from tersor.errors import UsageError
    from tersor.packing import LEVELS

    if plot is not None and not plot.absolute().parent.is_dir():
        raise UsageError(f"--plot {plot}: the folder {plot.parent} does not exist; make it or name another")
    with talk.progress(f"measuring {subject}") as progress:
        result = measure_lossless(
            model,
            dtype=dtype,
            runs=runs,
            threads=threads,
            levels=levels or LEVELS,
            peers=peers or None,
            peer_python=peer_python,
            progress=progress,
        )
    if plot is not None:
        from tersor.bench.plot import svg

        plot.write_text(svg(result), encoding="utf-8")
    talk.result(result, _text(result))


def _text(result: Mapping[str, Any]) -> str:
    from tersor.bench.report import notes, table_cells

    return "\n".join([table(*table_cells(result)), "", *notes(result)])
