"""Runs in a process of its own: one peer, one job. argv: the peer's name and a `QualityJob` as JSON.

The last line on stdout is JSON: {"version", "n_bytes"}, {"version"} if there is no job, or {"missing": module}. What
libraries print goes to stderr. Imports the standard library alone.
"""

from __future__ import annotations

import json
import os

from tersor.bench.quality.peers import QUALITY_PEERS, QualityJob


def main(name: str, job: str) -> None:
    """Answer on what was stdout."""
    answers = os.fdopen(os.dup(1), "w", encoding="utf-8")
    os.dup2(2, 1)
    try:
        peer = QUALITY_PEERS.get(name)()
    except ModuleNotFoundError as exc:
        answer: dict[str, object] = {"missing": exc.name}
    else:
        answer = {"version": peer.version}
        if job:
            answer["n_bytes"] = peer.quantize(QualityJob(**json.loads(job)))
    print(json.dumps(answer), file=answers, flush=True)
