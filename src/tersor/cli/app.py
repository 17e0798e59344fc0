"""`tersor VERB ...`: the lazy group of verbs, and what every failure looks like from outside.

Exit codes: 0 ok, 1 failed, 2 usage or recipe, 3 corrupt or verification failed, 4 budget not reachable,
130 interrupted. Kept light: `tersor --help` imports click and this file alone.
"""

from __future__ import annotations

import re
import signal
import sys
from collections.abc import Sequence
from functools import partial
from importlib import import_module
from types import FrameType, TracebackType
from typing import NoReturn

import click

from tersor.errors import TersorError

EXIT_INTERRUPTED = 130

# Verb -> what it does. `tersor.cli.verb_VERB` holds the command, also called `VERB`; imported on dispatch.
VERBS = {
    "compress": "Make a model smaller, to a size you name, by calibrated quantization.",
    "recipe": "Check a recipe for `compress`, show it, list those that come with tersor, or print the schema.",
    "pack": "Make a checkpoint smaller without losing a bit.",
    "unpack": "Restore every file of a packed checkpoint, byte for byte.",
    "inspect": "Say what an archive holds, without decoding it.",
    "verify": "Decode an archive and check every checksum in it.",
    "finetune": "Train a model for a task; the result still meets its size.",
    "evaluate": "Measure models against their original.",
    "report": "Show archives on one HTML page.",
    "bench": "Measure tersor on this machine, beside every peer that is installed.",
    "methods": "List the codecs, quantizers, pruners and other methods that are installed, or describe one.",
}


class VerbGroup(click.Group):
    """A group that knows its verbs by name and imports one only to run it or show its help."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(VERBS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        if cmd_name not in VERBS:
            return None
        command: click.Command = getattr(import_module(f"tersor.cli.verb_{cmd_name}"), cmd_name)
        return command

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        if args[0] not in VERBS and not args[0].startswith("-"):
            # Imported here: the registry's imports would cost every --help.
            from tersor.registry import did_you_mean

            raise click.UsageError(f"no command {args[0]!r}{did_you_mean(args[0], VERBS)}", ctx)
        return super().resolve_command(ctx, args)

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        with formatter.section("Commands"):
            formatter.write_dl(list(VERBS.items()))


def _print_version(ctx: click.Context, _: click.Parameter, wanted: bool) -> None:
    if wanted and not ctx.resilient_parsing:
        import tersor

        click.echo(f"tersor {tersor.__version__}")
        ctx.exit()


@click.group(
    cls=VerbGroup,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100},
    epilog="Exit codes: 0 ok, 1 failed, 2 usage or recipe, 3 corrupt or verification failed, "
    "4 budget not reachable, 130 interrupted.",
)
@click.option(
    "--version",
    is_flag=True,
    is_eager=True,
    expose_value=False,
    callback=_print_version,
    help="Print the version and exit.",
)
def group() -> None:
    """Make model checkpoints small: lossless packing and calibrated quantization in one archive."""


def run(arguments: Sequence[str] | None = None) -> int:
    """Run the command line and return its exit code; errors are one line on stderr.

    With --json an error is also the one object on stdout: {"error": {"kind", "message"}}.
    An exception that nobody foresaw goes to `sys.excepthook`, and Python exits with 1.
    """
    arguments = sys.argv[1:] if arguments is None else list(arguments)
    as_json = "--json" in arguments
    sys.excepthook = partial(_report_unexpected, as_json, _wants_traceback(arguments))
    _interrupt_on_termination()
    if not arguments:
        click.echo(group.get_help(click.Context(group, info_name="tersor")), err=True)
        return 2
    try:
        result = group.main(arguments, prog_name="tersor", standalone_mode=False)
    except click.ClickException as exc:
        return _fail("UsageError", _with_hint(exc), exc.exit_code, as_json)
    except TersorError as exc:
        return _fail(type(exc).__name__, str(exc), exc.exit_code, as_json)
    except (click.Abort, KeyboardInterrupt):
        return _fail("Interrupted", "interrupted", EXIT_INTERRUPTED, as_json)
    except OSError as exc:
        where = f"{exc.filename}: " if exc.filename is not None else ""
        return _fail(type(exc).__name__, f"{where}{exc.strerror or exc}", 1, as_json)
    except MemoryError:
        return _fail("MemoryError", "out of memory; fewer --threads need less", 1, as_json)
    return result if isinstance(result, int) else 0


def _fail(kind: str, message: str, exit_code: int, as_json: bool) -> int:
    from tersor.cli.talk import printable

    click.echo(f"error: {printable(message)}", err=True)
    if as_json:
        import json

        click.echo(json.dumps({"error": {"kind": kind, "message": message}}))
    return exit_code


def _with_hint(error: click.ClickException) -> str:
    """Return click's message with the command whose help says how to write it."""
    message = error.format_message()
    context = getattr(error, "ctx", None)
    if context is None:
        return message
    stop = "" if message[-1:] in ".?)" else "."
    return f"{message}{stop} See `{context.command_path} --help`."


def _wants_traceback(arguments: Sequence[str]) -> bool:
    return any(argument == "--verbose" or re.fullmatch(r"-q?v+q?", argument) for argument in arguments)


def _report_unexpected(
    as_json: bool,
    with_traceback: bool,
    kind: type[BaseException],
    error: BaseException,
    trace: TracebackType | None,
) -> None:
    """Say in one line that tersor has a bug; the traceback only with -v. Python then exits with 1."""
    if with_traceback:
        sys.__excepthook__(kind, error, trace)
    message = f"internal error: {kind.__name__}: {error}"
    hint = "" if with_traceback else " (add -v for the traceback)"
    _fail("InternalError", f"{message}; please report it{hint}", 1, as_json)


def _interrupt_on_termination() -> None:
    """Make SIGTERM and SIGHUP end the work like Ctrl-C, so that nothing half-written stays behind."""
    for name in ("SIGTERM", "SIGHUP"):
        number = getattr(signal, name, None)
        if number is not None and signal.getsignal(number) is signal.SIG_DFL:
            signal.signal(number, _raise_interrupt)


def _raise_interrupt(number: int, frame: FrameType | None) -> NoReturn:
    raise KeyboardInterrupt
