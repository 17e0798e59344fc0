"""What runs in a peer's process, and what its parent makes of its end."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from tersor.bench.child import Child, PeerFailedError, last_error
from tersor.bench.peers import PEERS
from tersor.bench.peers.base import DECODE_COLD, ENCODE, OPERATIONS, PACK, Job
from tersor.bench.peers.words import split_words
from tersor.bench.worker import equal, perform

INSTALLED = ("memcpy", "tersor", "zstd")


@pytest.mark.parametrize("name", INSTALLED)
def test_peers_restore_the_file_by_each_of_their_operations(name: str, weights: Path, tmp_path: Path) -> None:
    peer = PEERS.get(name)(Job(str(weights), "F32", str(tmp_path), "fast" if name == "tersor" else ""))
    for operation in OPERATIONS:
        if operation in peer.operations:
            seconds, same = perform(peer, operation)
            assert same, operation
            assert seconds > 0
    assert 0 < peer.n_bytes <= weights.stat().st_size


@pytest.mark.parametrize("name", PEERS.names())
def test_peers_say_what_they_can_do_without_being_installed(name: str) -> None:
    peer = PEERS.get(name)
    assert set(peer.operations) <= set(OPERATIONS)
    assert peer.environments
    assert peer.__module__.startswith("tersor.bench.peers.")


def test_an_operation_that_a_peer_has_not_is_refused(weights: Path, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="Memcpy cannot pack, only encode"):
        perform(PEERS.get("memcpy")(Job(str(weights), "F32", str(tmp_path))), PACK)


@pytest.mark.parametrize(
    ("pieces", "same"),
    [
        ([b"abc", b"d"], True),
        ([b"ab", b"cd"], True),
        ([b"abcd"], True),
        ([b"abc", b"e"], False),
        ([b"abc"], False),
        ([b"abc", b"d", b"d"], False),
    ],
)
def test_pieces_are_equal_if_their_bytes_are(pieces: list[bytes], same: bool) -> None:
    assert equal(pieces, [b"abc", b"d"]) is same


def test_words_leave_the_bytes_that_fill_none() -> None:
    words, tail = split_words(b"abcde", "BF16")
    assert words.tobytes() == b"abcd"
    assert tail == b"e"
    assert split_words(b"abc", "I8")[0].tobytes() == b"abc"


def test_child_answers_and_ends(weights: Path, tmp_path: Path) -> None:
    with Child("memcpy", Job(str(weights), "F32", str(tmp_path)), sys.executable, {}) as child:
        assert (child.missing, child.isa) == ("", "")
        seconds, n_bytes, same = child.perform(ENCODE)
        assert seconds > 0
        assert n_bytes == weights.stat().st_size
        assert same


def test_child_that_fails_says_why(weights: Path, tmp_path: Path) -> None:
    with (
        Child("memcpy", Job(str(weights), "F32", str(tmp_path)), sys.executable, {}) as child,
        pytest.raises(PeerFailedError, match=r"memcpy: exit code 1: AttributeError: .*_payload"),
    ):
        child.perform(DECODE_COLD)  # nothing is encoded yet


def test_last_error_is_the_line_that_names_the_exception() -> None:
    trace = "Traceback ...\n  File x\nTypeError: f(): bad\n    1. f(int)\n\nInvoked with types: str\n"
    assert last_error(trace) == "TypeError: f(): bad"
    assert last_error("killed\n") == "killed"
    assert last_error("") == "said nothing"
