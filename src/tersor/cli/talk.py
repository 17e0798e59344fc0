"""Where words go: the result to stdout, everything else to stderr."""

from __future__ import annotations

import contextlib
import json
import logging
import math
import os
import sys
from collections.abc import Mapping
from types import TracebackType
from typing import TextIO

from tersor.cli.progress import Progress


class Talk:
    """One verb's voice. As a context it owns stdout: whatever a library prints meanwhile goes to stderr.

    as_json: `result` prints one JSON object instead of its text.
    quiet: no notes, no progress. verbose: the library's debug notes too.
    """

    def __init__(self, *, as_json: bool, quiet: bool, verbose: bool) -> None:
        self.as_json = as_json
        self.quiet = quiet
        self._level = logging.DEBUG if verbose else logging.ERROR if quiet else logging.INFO
        self._stdout: TextIO = sys.stdout
        self._exit = contextlib.ExitStack()

    def __enter__(self) -> Talk:
        self._stdout = sys.stdout
        self._exit.enter_context(contextlib.redirect_stdout(sys.stderr))
        # Read by transformers when it is first imported: its bars would run through ours, also under --quiet.
        os.environ.setdefault("HF_HUB_DISABLE_PROGRESS_BARS", "1")
        logger = logging.getLogger("tersor")
        handler = logging.StreamHandler(sys.stderr)
        handler.setFormatter(logging.Formatter("%(message)s"))
        logger.addHandler(handler)
        self._exit.callback(logger.removeHandler, handler)
        self._exit.callback(logger.setLevel, logger.level)
        logger.setLevel(self._level)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._exit.close()

    def note(self, text: str) -> None:
        """Say something on stderr, unless quiet."""
        if not self.quiet:
            print(printable(text), file=sys.stderr)

    def progress(self, what: str) -> Progress:
        """Return a context whose value is a callback `(done, total, what)`; see `Progress`."""
        return Progress(what, shown=not self.quiet and sys.stderr.isatty())

    def result(self, values: Mapping[str, object], text: str) -> None:
        """Print the verb's one result: `values` as JSON, or `text`."""
        line = json.dumps(_finite(values), allow_nan=False) if self.as_json else printable(text)
        # Flushed here: a closed pipe must fail now, where click ends it quietly, not while Python exits.
        print(line, file=self._stdout, flush=True)


def printable(text: str) -> str:
    """Return `text` with control characters escaped: names come from files, terminals obey escapes."""
    return "".join(
        char if char.isprintable() or char == "\n" else char.encode("unicode_escape").decode()
        for char in text
    )


def _finite(value: object) -> object:
    """Return `value` with NaN and infinity as None (JSON has neither) and other objects as text."""
    if isinstance(value, Mapping):
        return {str(key): _finite(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_finite(item) for item in value]
    if isinstance(value, float):
        return float(value) if math.isfinite(value) else None
    return value if value is None or isinstance(value, str | int) else str(value)
