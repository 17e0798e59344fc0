"""What `tersor bench` can measure: for each subject, how to measure, draw and print it."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import click

from tersor.cli.progress import Progress
from tersor.cli.table import table

Options = Mapping[str, Any]
Result = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Subject:
    """One subject. own_options: names of the parameters that no other subject has."""

    own_options: frozenset[str]
    measure: Callable[[Path | None, Options, Progress], Result]
    draw: Callable[[Result], str]
    text: Callable[[Result], str]


def refuse_options_of_others(context: click.Context, subject: str) -> None:
    """Raises: UsageError if an option that another subject alone has was typed."""
    from tersor.errors import UsageError

    unset = (click.core.ParameterSource.DEFAULT, click.core.ParameterSource.DEFAULT_MAP)
    for name, other in SUBJECTS.items():
        for param in context.command.params:
            is_foreign = name != subject and param.name in other.own_options
            if is_foreign and context.get_parameter_source(str(param.name)) not in unset:
                raise UsageError(f"{param.opts[0]}: only for `tersor bench {name}`, not for {subject}")


def _measure_lossless(model: Path | None, options: Options, progress: Progress) -> Result:
    from tersor.bench.lossless import measure_lossless
    from tersor.packing import LEVELS

    return measure_lossless(
        model,
        dtype=options["dtype"],
        runs=options["runs"],
        threads=options["threads"] or (1, 2),
        levels=options["levels"] or LEVELS,
        peers=options["peers"] or None,
        peer_python=os.pathsep.join(options["peer_pythons"]),
        progress=progress,
    )


def _draw_lossless(result: Result) -> str:
    from tersor.bench.plot import svg

    return svg(result)


def _lossless_text(result: Result) -> str:
    from tersor.bench.report import notes, table_cells

    return "\n".join([table(*table_cells(result)), "", *notes(result)])


def _measure_quality(model: Path | None, options: Options, progress: Progress) -> Result:
    from tersor.errors import UsageError

    if model is None:
        raise UsageError("bench quality needs MODEL, a Hugging Face folder: tersor bench quality bert/")
    if options["task"] is None:
        raise UsageError("bench quality needs --task: embedding, kl or perplexity")
    if len(options["threads"]) > 1:
        raise UsageError(f"--threads: quality takes one number, got {len(options['threads'])}")
    from tersor.bench.quality.measure import measure_quality
    from tersor.recipe import DEFAULT_METHOD

    return measure_quality(
        model,
        task=options["task"],
        methods=options["methods"] or (DEFAULT_METHOD,),
        sizes=options["sizes"] or ("4bpw", "3bpw"),
        peers=options["peers"] or None,
        peer_settings=options["peer_settings"],
        peer_model=options["peer_model"],
        peer_pythons=options["peer_pythons"],
        seeds=options["seeds"],
        calibration=options["calibration"],
        data=options["data"],
        threads=options["threads"][0] if options["threads"] else 1,
        progress=progress,
    )


def _draw_quality(result: Result) -> str:
    from tersor.bench.quality.plot import svg

    return svg(result)


def _quality_text(result: Result) -> str:
    from tersor.bench.quality.report import notes, table_cells

    return "\n".join([table(*table_cells(result)), "", *notes(result)])


SUBJECTS = {
    "lossless": Subject(
        frozenset({"dtype", "runs", "levels"}),
        _measure_lossless,
        _draw_lossless,
        _lossless_text,
    ),
    "quality": Subject(
        frozenset(
            {"task", "methods", "sizes", "seeds", "calibration", "data", "peer_settings", "peer_model"},
        ),
        _measure_quality,
        _draw_quality,
        _quality_text,
    ),
}
