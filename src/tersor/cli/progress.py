"""A progress bar on stderr for work that takes more than two seconds."""

from __future__ import annotations

import contextlib
import threading
import time
from types import TracebackType
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from rich.progress import Progress as Bar

DELAY_SECONDS = 2.0


class Progress:
    """A context and a callback `(done, total, what="")`, callable from any thread.

    The bar appears once DELAY_SECONDS have passed, so short work neither flickers nor imports rich.
    done and total share any unit; only their ratio is shown. shown=False: never a bar.
    """

    def __init__(self, what: str, *, shown: bool) -> None:
        self._what = what
        self._shown = shown
        self._started = time.monotonic()
        self._lock = threading.Lock()
        self._bar: Bar | None = None
        self._exit = contextlib.ExitStack()

    def __enter__(self) -> Progress:
        self._started = time.monotonic()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        with self._lock:
            self._shown = False
            self._exit.close()

    def __call__(self, done: float, total: float, what: str = "") -> None:
        if self._shown and time.monotonic() - self._started >= DELAY_SECONDS:
            with self._lock:
                self._draw(done, total, what or self._what)

    def _draw(self, done: float, total: float, what: str) -> None:
        if not self._shown:  # ended while this thread waited for the lock
            return
        if self._bar is None:
            self._bar = self._exit.enter_context(_new_bar())
            self._bar.add_task(what)
        self._bar.update(self._bar.task_ids[0], completed=done, total=total, description=what)


def _new_bar() -> Bar:
    from rich.console import Console
    from rich.progress import (
        BarColumn,
        TaskProgressColumn,
        TextColumn,
        TimeElapsedColumn,
        TimeRemainingColumn,
    )
    from rich.progress import Progress as Bar

    return Bar(
        TextColumn("{task.description}", markup=False),
        BarColumn(),
        TaskProgressColumn(),
        TimeElapsedColumn(),
        TimeRemainingColumn(),
        console=Console(stderr=True),
        transient=True,
        redirect_stdout=False,
    )
