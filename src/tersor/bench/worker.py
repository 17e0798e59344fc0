"""Runs in a process of its own: one peer on one file, one operation for each line that comes in.

argv: the peer's name, then the fields of its `Job` as JSON. Each answer is a line of JSON: first {"version", "isa"} or
{"missing": module}, then {"seconds", "n_bytes", "same"} for each operation. A peer that fails ends the process; its
traceback goes to stderr. Runs in interpreters that have no tersor, so it imports the standard library and modules of
this folder alone.
"""

from __future__ import annotations

import json
import os
import sys
import time
from collections.abc import Callable, Sequence
from typing import Any, TextIO

from tersor.bench.isa import isa_in_use
from tersor.bench.peers import PEERS, Peer
from tersor.bench.peers.base import (
    DECODE_WARM,
    ENCODE,
    PACK,
    UNPACK,
    Buffer,
    FilePeer,
    Job,
    MemoryPeer,
)


def main(name: str, job: str) -> None:
    """Answer on stdout until stdin ends."""
    answers = _own_stdout()
    try:
        peer = PEERS.get(name)(Job(**json.loads(job)))
    except ModuleNotFoundError as exc:
        _answer(answers, {"missing": exc.name})
        return
    _answer(answers, {"version": peer.version, "isa": isa_in_use() if name == "tersor" else ""})
    for line in sys.stdin:
        seconds, same = perform(peer, line.strip())
        _answer(answers, {"seconds": seconds, "n_bytes": peer.n_bytes, "same": same})


def perform(peer: Peer, operation: str) -> tuple[float, bool]:
    """Return the seconds of one operation, and whether what it restored is what it had to be."""
    if operation not in peer.operations:
        raise ValueError(f"{type(peer).__name__} cannot {operation}, only {', '.join(peer.operations)}")
    if operation in (PACK, UNPACK):
        assert isinstance(peer, FilePeer)
        return _between_files(peer, operation)
    assert isinstance(peer, MemoryPeer)
    return _in_memory(peer, operation)


def _between_files(peer: FilePeer, operation: str) -> tuple[float, bool]:
    if operation == PACK:
        return timed(peer.pack)[0], True
    seconds, path = timed(peer.unpack)
    return seconds, path.read_bytes() == peer.original


def _in_memory(peer: MemoryPeer, operation: str) -> tuple[float, bool]:
    if operation == ENCODE:
        return timed(peer.encode, bytearray(peer.original))[0], True  # a copy: zipnn alters its input
    if operation == DECODE_WARM:
        seconds, pieces = timed(peer.decode_into, peer.new_out())
    else:
        seconds, pieces = timed(peer.decode)
    return seconds, equal(pieces, peer.expected())


def timed(work: Callable[..., Any], *arguments: object) -> tuple[float, Any]:
    """Return the seconds that a call took, and its result."""
    started = time.perf_counter()
    result = work(*arguments)
    return time.perf_counter() - started, result


def equal(pieces: Sequence[Buffer], expected: Sequence[Buffer]) -> bool:
    """Return whether the pieces hold the same bytes; where one piece ends and the next begins is not compared."""
    return b"".join(pieces) == b"".join(expected)


def _own_stdout() -> TextIO:
    """Return a stream to what was stdout; from now on what libraries print goes to stderr."""
    answers = os.fdopen(os.dup(1), "w", encoding="utf-8")
    os.dup2(2, 1)
    return answers


def _answer(answers: TextIO, values: dict[str, object]) -> None:
    print(json.dumps(values), file=answers, flush=True)
