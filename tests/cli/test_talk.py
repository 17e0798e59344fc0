"""stdout holds the result alone; stderr holds the rest."""

from __future__ import annotations

import io
import json
import logging
import sys
import threading

import pytest

from tersor.cli import progress as progress_module
from tersor.cli.progress import Progress
from tersor.cli.talk import Talk, printable


def test_prints_of_libraries_go_to_stderr(capsys: pytest.CaptureFixture[str]) -> None:
    with Talk(as_json=True, quiet=False, verbose=False) as talk:
        print("a library talks")
        talk.result({"a": 1}, "text")
    out, err = capsys.readouterr()
    assert json.loads(out) == {"a": 1}
    assert err == "a library talks\n"


def test_json_has_null_for_what_json_cannot_say(capsys: pytest.CaptureFixture[str]) -> None:
    with Talk(as_json=True, quiet=True, verbose=False) as talk:
        talk.result({"a": [float("nan"), float("inf"), 1.5], "b": {"c": (True, None)}}, "")
    assert json.loads(capsys.readouterr().out) == {"a": [None, None, 1.5], "b": {"c": [True, None]}}


def test_text_is_printed_without_terminal_escapes(capsys: pytest.CaptureFixture[str]) -> None:
    with Talk(as_json=False, quiet=True, verbose=False) as talk:
        talk.result({}, "name \x1b[31m\nnext é")
    assert capsys.readouterr().out == "name \\x1b[31m\nnext é\n"


def test_lone_surrogates_are_printable() -> None:
    printable("\udc80").encode()


@pytest.mark.parametrize(
    ("quiet", "verbose", "seen"),
    [(False, False, "info\nerror\n"), (True, False, "error\n"), (False, True, "debug\ninfo\nerror\n")],
)
def test_flags_choose_which_notes_are_shown(
    quiet: bool, verbose: bool, seen: str, capsys: pytest.CaptureFixture[str]
) -> None:
    logger = logging.getLogger("tersor.some.module")
    with Talk(as_json=False, quiet=quiet, verbose=verbose):
        for level in ("debug", "info", "error"):
            getattr(logger, level)(level)
    assert capsys.readouterr().err == seen
    assert not logging.getLogger("tersor").handlers


class _Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def test_progress_is_drawn_on_a_terminal_only_after_the_delay(monkeypatch: pytest.MonkeyPatch) -> None:
    terminal = _Terminal()
    monkeypatch.setattr(sys, "stderr", terminal)
    with Talk(as_json=False, quiet=False, verbose=False) as talk:
        with talk.progress("packing") as report:
            report(1, 2)
        assert terminal.getvalue() == ""
        monkeypatch.setattr(progress_module, "DELAY_SECONDS", 0.0)
        with talk.progress("packing") as report:
            report(1, 2)
            report(2, 2, "writing [x]")
    assert "packing" in terminal.getvalue()
    assert "writing [x]" in terminal.getvalue()


@pytest.mark.parametrize(("quiet", "terminal"), [(True, _Terminal()), (False, io.StringIO())])
def test_no_progress_when_quiet_or_not_a_terminal(
    quiet: bool, terminal: io.StringIO, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys, "stderr", terminal)
    monkeypatch.setattr(progress_module, "DELAY_SECONDS", 0.0)
    with (
        Talk(as_json=False, quiet=quiet, verbose=False) as talk,
        talk.progress("packing") as report,
    ):
        report(1, 2)
    assert terminal.getvalue() == ""


def test_progress_may_be_reported_from_threads_and_after_the_end(monkeypatch: pytest.MonkeyPatch) -> None:
    terminal = _Terminal()
    monkeypatch.setattr(sys, "stderr", terminal)
    monkeypatch.setattr(progress_module, "DELAY_SECONDS", 0.0)
    with Progress("packing", shown=True) as report:
        threads = [threading.Thread(target=report, args=(i, 8)) for i in range(8)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    before = terminal.getvalue()
    report(8, 8)
    assert terminal.getvalue() == before
