"""What a failure looks like from outside: one line, one exit code, one JSON object."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

Run = Callable[..., subprocess.CompletedProcess[str]]

# Runs the command line with a verb's work replaced by a few lines.
_REPLACED = """
import sys, types
import tersor.errors as errors
module = types.ModuleType("tersor.methods")
def methods():
    {body}
module.methods = methods
sys.modules["tersor.methods"] = module
from tersor.cli import main
sys.exit(main())
"""


def _run_replaced(body: str, *arguments: str) -> subprocess.CompletedProcess[str]:
    code = _REPLACED.format(body=body)
    return subprocess.run(
        [sys.executable, "-c", code, "methods", *arguments],
        capture_output=True,
        text=True,
        timeout=60,
        # Under nohup a child would ignore it too.
        preexec_fn=lambda: signal.signal(signal.SIGHUP, signal.SIG_DFL),
    )


@pytest.mark.parametrize(
    ("error", "exit_code", "line"),
    [
        ("errors.TersorError('it failed')", 1, "error: it failed"),
        ("errors.OutputError('disk full')", 1, "error: disk full"),
        ("errors.UsageError('no')", 2, "error: no"),
        ("errors.UnknownNameError('who')", 2, "error: who"),
        ("errors.CorruptError('damaged')", 3, "error: damaged"),
        ("errors.NewerFormatError('version 9')", 3, "error: version 9"),
        ("errors.BudgetError('nearest is 3 MB')", 4, "error: nearest is 3 MB"),
        ("KeyboardInterrupt", 130, "error: interrupted"),
        ("FileNotFoundError(2, 'No such file', 'x.txt')", 1, "error: x.txt: No such file"),
        ("MemoryError", 1, "error: out of memory; fewer --threads need less"),
        (
            "ValueError('bug')",
            1,
            "error: internal error: ValueError: bug; please report it (add -v for the traceback)",
        ),
    ],
)
@pytest.mark.parametrize("as_json", [False, True])
def test_error_is_one_line_and_one_object(error: str, exit_code: int, line: str, as_json: bool) -> None:
    done = _run_replaced(f"raise {error}", *(["--json"] if as_json else []))
    assert done.returncode == exit_code
    assert done.stderr.strip().splitlines() == [line]
    if as_json:
        assert list(json.loads(done.stdout)) == ["error"]
        assert json.loads(done.stdout)["error"]["message"] == line.removeprefix("error: ")
    else:
        assert done.stdout == ""


def test_json_error_names_its_kind() -> None:
    done = _run_replaced("raise errors.BudgetError('x')", "--json")
    assert json.loads(done.stdout) == {"error": {"kind": "BudgetError", "message": "x"}}


def test_traceback_of_a_bug_only_with_verbose() -> None:
    assert "Traceback" not in _run_replaced("raise ValueError('bug')").stderr
    done = _run_replaced("raise ValueError('bug')", "-v")
    assert done.returncode == 1
    assert "Traceback" in done.stderr
    assert done.stderr.splitlines()[-1] == "error: internal error: ValueError: bug; please report it"


def test_error_message_cannot_command_the_terminal() -> None:
    done = _run_replaced(r"raise errors.CorruptError('tensor \x1b[2J')")
    assert done.stderr == "error: tensor \\x1b[2J\n"


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["packk"], "no command 'packk'; did you mean 'pack'? See `tersor --help`."),
        (["frobnicate"], "no command 'frobnicate'"),
        (["pack", "model", "--levl", "fast"], "'--level'"),
        (["pack", "model"], "Missing option '-o' / '--output'"),
        (["pack", "-o", "out"], "Missing argument 'MODEL'"),
        (["pack", "absent", "-o", "out"], "Path 'absent' does not exist"),
        (["pack", "model", "-o", "out", "--threads", "0"], "0 is not in the range x>=1"),
        (["compress", "model", "-o", "out", "--size", "0,2x"], "the decimal mark is a point: 0.2x"),
        (["compress", "model", "-o", "out"], "no size given"),
        (["compress", "model", "-o", "out", "--size", "0.2x", "--seed", "-1"], "0<=x<=4294967295"),
        (["compress", "model", "-o", "out", "--recipe", "bad.yaml"], "bad.yaml:1:1: unknown key 'sise'"),
        (["compress", "model", "-o", "out", "--recipe", "model"], "is a directory"),
    ],
)
def test_usage_error_exits_with_2_before_any_work(
    arguments: list[str], message: str, run_tersor: Run, checkpoint: Path, tmp_path: Path
) -> None:
    (tmp_path / "bad.yaml").write_text("sise: 0.2x\n")
    before = sorted(os.listdir(tmp_path))
    done = run_tersor(*arguments, "--json")
    assert done.returncode == 2
    assert message in done.stderr
    assert message in json.loads(done.stdout)["error"]["message"]
    assert sorted(os.listdir(tmp_path)) == before


def test_no_arguments_prints_help_on_stderr_and_exits_with_2(run_tersor: Run) -> None:
    done = run_tersor()
    assert done.returncode == 2
    assert done.stdout == ""
    assert "Commands:" in done.stderr


def test_closed_pipe_is_quiet(tersor_script: Path) -> None:
    with subprocess.Popen(
        [tersor_script, "methods"], stdout=subprocess.PIPE, stderr=subprocess.PIPE
    ) as process:
        assert process.stdout is not None
        process.stdout.close()
        assert process.stderr is not None
        assert process.stderr.read() == b""
    assert process.returncode == 1


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_signal_cleans_up_and_exits_with_130(number: signal.Signals) -> None:
    body = f"""
    import os, time
    try:
        os.kill(os.getpid(), {int(number)})
        time.sleep(30)
    finally:
        print("cleaned up", file=sys.stderr)
"""
    done = _run_replaced(body)
    assert done.returncode == 130
    assert done.stderr.split("\n") == ["cleaned up", "", "error: interrupted", ""]
