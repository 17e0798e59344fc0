"""One peer's process, as its parent sees it."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import tersor
from tersor.bench.child import PeerFailedError, last_error
from tersor.bench.quality.peers import QualityJob

# The package's folder comes last, so that the interpreter's own packages are found first.
_START = (
    "import sys; name, job, folder = sys.argv[1:]; sys.path.append(folder); "
    "from tersor.bench.quality.worker import main; main(name, job)"
)


def find_interpreter(name: str, interpreters: Sequence[str]) -> tuple[str, str] | None:
    """The first interpreter that has the peer's packages, and the peer's version; None: none has them.

    Raises: PeerFailedError if the packages are there, but do not start anywhere.
    """
    failure: PeerFailedError | None = None
    for interpreter in interpreters:
        try:
            said = run_peer(name, None, interpreter)
        except PeerFailedError as exc:
            failure = exc
            continue
        if "missing" not in said:
            return interpreter, str(said["version"])
    if failure is not None:
        raise failure
    return None


def run_peer(name: str, job: QualityJob | None, interpreter: str = sys.executable) -> dict[str, Any]:
    """Run a job (or ask for the version) and return the answer. Raises: PeerFailedError."""
    text = json.dumps(asdict(job)) if job is not None else ""
    package_folder = str(Path(tersor.__file__).parent.parent)
    done = subprocess.run(
        [interpreter, "-c", _START, name, text, package_folder],
        capture_output=True,
        text=True,
        check=False,
        env={**os.environ, "OMP_NUM_THREADS": "1", "HF_HUB_OFFLINE": "1"},
    )
    if done.returncode or not done.stdout.strip():
        what = f"{name} {job.setting}" if job is not None else name
        raise PeerFailedError(f"{what}: exit code {done.returncode}: {last_error(done.stderr)}")
    answer: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return answer
