"""The command line: parses arguments, calls the public API, prints. No algorithm lives here."""

from __future__ import annotations

from collections.abc import Sequence


def main(arguments: Sequence[str] | None = None) -> int:
    """Run `tersor ARGUMENTS` (default: those of the process) and return the exit code."""
    try:
        from tersor.cli.app import run

        return run(arguments)
    except KeyboardInterrupt:  # while importing, before or after the work
        return 130
