"""Options that say effect, unit, default and example, and the flags that all verbs share."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from functools import wraps
from pathlib import Path
from typing import Any

import click

from tersor.cli.talk import Talk

Decorator = Callable[[Callable[..., Any]], Callable[..., Any]]

INPUT = click.Path(exists=True, path_type=Path)


class ArchiveInput(click.Path):
    """An archive: a path that exists, as a Path, or a URL, as it is."""

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        from tersor.archive.urls import is_url

        return value if is_url(value) else super().convert(value, param, ctx)


ARCHIVE = ArchiveInput(exists=True, path_type=Path)


class DocumentedOption(click.Option):
    """A click option with the four things that a reader needs.

    help: the effect. unit: what the value counts or names ("flag" for a switch).
    default_text: what happens when it is left out. example: the option as it is typed.
    """

    def __init__(
        self, declarations: Sequence[str], *, unit: str, default_text: str, example: str, **attributes: Any
    ) -> None:
        super().__init__(declarations, **attributes)
        self.unit = unit
        self.default_text = default_text
        self.example = example

    def get_help_record(self, ctx: click.Context) -> tuple[str, str] | None:
        record = super().get_help_record(ctx)
        if record is None:
            return None
        example = "" if self.is_flag else f" Example: {self.example}"
        return record[0], f"{self.help} Default: {self.default_text}.{example}"


class Verb(click.Command):
    """A command with at least one example, shown under its help.

    arguments_help: what each positional argument is, by its metavar.
    """

    def __init__(
        self, *args: Any, examples: Sequence[str], arguments_help: dict[str, str], **attributes: Any
    ) -> None:
        super().__init__(*args, **attributes)
        self.examples = tuple(examples)
        self.arguments_help = arguments_help

    def format_options(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        if self.arguments_help:
            with formatter.section("Arguments"):
                formatter.write_dl(list(self.arguments_help.items()))
        super().format_options(ctx, formatter)

    def format_epilog(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        with formatter.section("Examples"):
            for example in self.examples:
                formatter.write_text(example)


def option(
    *declarations: str, effect: str, unit: str, default_text: str, example: str, **attributes: Any
) -> Decorator:
    """Return the decorator that adds one `DocumentedOption`."""
    return click.option(
        *declarations,
        cls=DocumentedOption,
        help=effect,
        unit=unit,
        default_text=default_text,
        example=example,
        **attributes,
    )


def verb(
    name: str, *, examples: Sequence[str], arguments_help: dict[str, str]
) -> Callable[[Callable[..., int | None]], click.Command]:
    """Return the decorator that makes a function a verb; the function gets a `Talk` first."""

    def decorate(function: Callable[..., int | None]) -> click.Command:
        @wraps(function)
        def with_talk(*, as_json: bool, quiet: bool, verbose: bool, **arguments: Any) -> int | None:
            with Talk(as_json=as_json, quiet=quiet, verbose=verbose) as talk:
                return function(talk, **arguments)

        make = click.command(name, cls=Verb, examples=examples, arguments_help=arguments_help)
        command: click.Command = make(with_talk)
        command.params += _COMMON
        return command

    return decorate


_COMMON = (
    DocumentedOption(
        ["--json", "as_json"],
        is_flag=True,
        help="Print exactly one JSON object on stdout instead of a table; talk stays on stderr.",
        unit="flag",
        default_text="a table",
        example="--json",
    ),
    DocumentedOption(
        ["-q", "--quiet"],
        is_flag=True,
        help="No progress and no notes on stderr; errors and the result stay.",
        unit="flag",
        default_text="progress (on a terminal) and notes",
        example="-q",
    ),
    DocumentedOption(
        ["-v", "--verbose"],
        is_flag=True,
        help="More notes on stderr, and the traceback of an internal error.",
        unit="flag",
        default_text="short notes",
        example="-v",
    ),
)


def output_option(what: str, example: str) -> Decorator:
    """Return `-o OUT`, required; `what` says what will lie there."""
    return option(
        "-o",
        "--output",
        type=click.Path(path_type=Path),
        metavar="OUT",
        required=True,
        effect=f"{what} Written whole or not at all.",
        unit="path of a folder that does not exist yet",
        default_text="none, it must be given",
        example=example,
    )


force_option = option(
    "--force",
    is_flag=True,
    effect="Replace OUT if it is an earlier output of tersor; anything else is never replaced.",
    unit="flag",
    default_text="an existing OUT is an error (exit code 2)",
    example="--force",
)


def threads_default() -> int:
    """Return the number of processor cores that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else (os.cpu_count() or 1)


threads_option = option(
    "--threads",
    type=click.IntRange(min=1),
    metavar="N",
    default=threads_default,
    effect="Work on N things side by side. Changes the time and the memory needed, never a byte of the result.",
    unit="threads, at least 1",
    default_text="the number of processor cores",
    example="--threads 4",
)
base_option = option(
    "--base",
    type=INPUT,
    metavar="MODEL",
    effect="The model that the archive was packed against (`tersor pack --base`), or an archive of it.",
    unit="path of a checkpoint or archive",
    default_text="what the environment variable TERSOR_BASE names, else where it lay when the archive was made",
    example="--base bert/",
)
seed_option = option(
    "--seed",
    type=click.IntRange(0, 2**32 - 1),
    metavar="N",
    effect="Start every random choice from N: the same N on the same machine gives the same result.",
    unit="whole number, 0 to 4294967295",
    default_text="0",
    example="--seed 7",
)
dry_run_option = option(
    "--dry-run",
    is_flag=True,
    effect="Check everything and show what would be done; write nothing.",
    unit="flag",
    default_text="do the work",
    example="--dry-run",
)
