"""A process that measures one peer, as its parent sees it."""

from __future__ import annotations

import json
import os
import re
import shutil
import signal
import subprocess
import tempfile
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from types import TracebackType
from typing import Any

import tersor
from tersor.bench.peers.base import Job
from tersor.errors import TersorError, UsageError

# Appended to the path, so that another interpreter's own packages come first.
_START = (
    "import sys; name, job, folder = sys.argv[1:]; sys.path.append(folder); "
    "from tersor.bench.worker import main; main(name, job)"
)


class PeerFailedError(TersorError):
    """A peer's process ended before it answered; the message says why."""


class Child:
    """One peer at work. Use it in a `with`. missing: the module that it needs and does not find, else ""."""

    def __init__(self, name: str, job: Job, interpreter: str, environment: Mapping[str, str]) -> None:
        settings = [f"{key}={value}" for key, value in environment.items()]
        self._what = " ".join([name, job.level, *settings]).replace("  ", " ").strip()
        self._errors = tempfile.TemporaryFile()  # noqa: SIM115 (closed by __exit__)
        package_folder = str(Path(tersor.__file__).parent.parent)
        self._process = subprocess.Popen(
            [interpreter, "-c", _START, name, json.dumps(asdict(job)), package_folder],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self._errors,
            text=True,
            env={**os.environ, "OMP_NUM_THREADS": str(job.threads), **environment},
        )
        hello = self._read()
        self.missing = str(hello.get("missing", ""))
        self.version = str(hello.get("version", ""))
        self.isa = str(hello.get("isa", ""))

    def perform(self, operation: str) -> tuple[float, int, bool]:
        """Return the seconds of one operation, the bytes to store so far, and whether all was restored."""
        assert self._process.stdin is not None
        try:
            print(operation, file=self._process.stdin, flush=True)
        except BrokenPipeError as exc:
            raise self._failed() from exc
        answer = self._read()
        return float(answer["seconds"]), int(answer["n_bytes"]), bool(answer["same"])

    def _read(self) -> dict[str, Any]:
        assert self._process.stdout is not None
        line = self._process.stdout.readline()
        if not line:
            raise self._failed()
        answer: dict[str, Any] = json.loads(line)
        return answer

    def _failed(self) -> PeerFailedError:
        code = self._process.wait()
        self._errors.seek(0)
        said = last_error(self._errors.read().decode(errors="replace"))
        self.close()
        return PeerFailedError(f"{self._what}: {_ending(code)}: {said}")

    def close(self) -> None:
        """End the process. Does nothing if it has ended."""
        for pipe in (self._process.stdin, self._process.stdout):
            if pipe is not None and not pipe.closed:
                pipe.close()
        self._process.kill()
        self._process.wait()
        self._errors.close()

    def __enter__(self) -> Child:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


def check_interpreter(interpreter: str) -> None:
    """Raises: UsageError if there is no such program."""
    if shutil.which(interpreter) is None:
        raise UsageError(
            f"peer python {interpreter!r}: no such program; needed: the path of a Python interpreter, "
            "such as peers/bin/python"
        )


def _ending(code: int) -> str:
    """Return how a process ended: its exit code, or the name of the signal that killed it."""
    return f"exit code {code}" if code >= 0 else f"killed by {signal.Signals(-code).name}"


def last_error(text: str) -> str:
    """Return the line of a traceback that names the exception, or the last line if there is none."""
    lines = [line for line in text.splitlines() if line.strip()]
    named = [line for line in lines if re.match(r"[\w.]+: ", line)]
    return (named or lines or ["said nothing"])[-1]
