"""The LZW codec: widths, resets, phrases that name themselves, hostile codes, agreement with a plain decoder."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from plain_codecs import decode_lzw
from tersor.codec.lzw import Lzw
from tersor.errors import CorruptError

GOLDEN = Path(__file__).parent.parent / "golden" / "codecs" / "lzw.json"


def decode(payload: bytes, n_out: int) -> bytes:
    out = bytearray(n_out)
    Lzw().decode(payload, memoryview(out))
    return bytes(out)


def noise(n_bytes: int, n_symbols: int = 256) -> bytes:
    return np.random.default_rng(n_bytes).integers(0, n_symbols, n_bytes, dtype=np.uint8).tobytes()


def pack(*codes: int) -> bytes:
    """Pack codes of 9 bits, lowest bit first."""
    value = sum(code << 9 * k for k, code in enumerate(codes))
    return value.to_bytes((9 * len(codes) + 7) // 8, "little")


@given(st.one_of(st.binary(max_size=2000), st.lists(st.sampled_from(b"ab"), max_size=2000).map(bytes)))
def test_plain_decoder_reads_what_the_codec_writes(data: bytes) -> None:
    assert decode_lzw(Lzw().encode(data), len(data)) == data


def test_plain_decoder_reads_the_goldens() -> None:
    for case in json.loads(GOLDEN.read_text())["cases"]:
        data = bytes.fromhex(case["data"])
        assert decode_lzw(bytes.fromhex(case["payload"]), len(data)) == data, case["what"]


def test_every_width_up_to_a_full_dictionary_round_trips() -> None:
    data = noise(120_000)
    payload = Lzw().encode(data)
    assert decode(payload, len(data)) == data


def test_data_that_changes_after_the_dictionary_is_full_is_coded_after_a_reset() -> None:
    before, after = noise(200_000), noise(400_000, 4)
    both = Lzw().encode(before + after)
    assert decode(both, 600_000) == before + after
    assert decode_lzw(both, 600_000) == before + after
    assert len(both) < len(Lzw().encode(before)) + 1.1 * len(Lzw().encode(after))


@pytest.mark.parametrize("n_bytes", [1, 2, 3, 300, 100_000])
def test_payload_is_at_most_twice_the_data(n_bytes: int) -> None:
    assert len(Lzw().encode(noise(n_bytes))) <= 2 * n_bytes


def test_long_runs_round_trip_and_shrink_to_square_root_size() -> None:
    data = b"\x00" * 1_000_000
    payload = Lzw().encode(data)
    assert decode(payload, len(data)) == data
    assert len(payload) < 2_500


def test_reset_forgets_all_phrases() -> None:
    assert decode(pack(97, 98, 257, 256, 97, 257), 7) == b"abab" + b"aaa"


@pytest.mark.parametrize(
    ("what", "payload", "n_out"),
    [
        ("first code is no literal", pack(257), 2),
        ("reset at the start", pack(256, 97), 1),
        ("reset twice", pack(97, 256, 256, 98), 2),
        ("reset at the end", pack(97, 256), 1),
        ("code beyond the dictionary", pack(97, 258), 3),
        ("phrase longer than what is left", pack(97, 98, 257), 3),
        ("code missing", pack(97, 98), 3),
        ("code left over", pack(97, 98), 1),
        ("pad bit set", pack(97)[:1] + b"\x80", 1),
        ("byte left over", pack(97) + b"\x00", 1),
    ],
)
def test_damage_raises_corrupt(what: str, payload: bytes, n_out: int) -> None:
    with pytest.raises(CorruptError, match="lzw"):
        decode(payload, n_out)
