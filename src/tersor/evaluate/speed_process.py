"""A `speed_worker` as its parent sees it."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Mapping
from functools import cached_property
from types import TracebackType
from typing import Any

from tersor.errors import TersorError, UsageError


class WorkerFailedError(TersorError):
    """The process of a model ended before it answered; the message says what it said last."""


class SpeedProcess:
    """One model in a process of its own. Use it in a `with`.

    threads: what torch may use in it. It is ready when `facts` have been asked for; several start side by side.
    """

    def __init__(self, folder: str, threads: int) -> None:
        self._folder = folder
        self._errors = tempfile.TemporaryFile()  # noqa: SIM115 (closed by close)
        self._process = subprocess.Popen(
            [sys.executable, "-P", "-m", "tersor.evaluate.speed_worker", folder],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self._errors,
            text=True,
            env={**os.environ, "OMP_NUM_THREADS": str(threads), "MKL_NUM_THREADS": str(threads)},
        )

    @cached_property
    def facts(self) -> Mapping[str, Any]:
        """What its timings depend on. Raises: UsageError if the model cannot be loaded, WorkerFailedError."""
        return self._read()

    def ask(self, **request: Any) -> Mapping[str, Any]:
        """The answer to one request; `facts` come before the first. Raises: as `facts`."""
        assert self._process.stdin is not None
        try:
            print(json.dumps(request), file=self._process.stdin, flush=True)
        except BrokenPipeError as exc:
            raise self._failed() from exc
        return self._read()

    def _read(self) -> dict[str, Any]:
        assert self._process.stdout is not None
        line = self._process.stdout.readline()
        if not line:
            raise self._failed()
        answer: dict[str, Any] = json.loads(line)
        if "error" in answer:
            self.close()
            raise UsageError(str(answer["error"]))
        return answer

    def _failed(self) -> WorkerFailedError:
        code = self._process.wait()
        self._errors.seek(0)
        lines = [line for line in self._errors.read().decode(errors="replace").splitlines() if line.strip()]
        self.close()
        said = lines[-1] if lines else "said nothing"
        return WorkerFailedError(
            f"{self._folder}: the process that measures its speed ended with {code}: {said}"
        )

    def close(self) -> None:
        """End the process. Does nothing if it has ended."""
        for pipe in (self._process.stdin, self._process.stdout):
            if pipe is not None and not pipe.closed:
                pipe.close()
        self._process.kill()
        self._process.wait()
        self._errors.close()

    def __enter__(self) -> SpeedProcess:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()
