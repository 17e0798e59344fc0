"""The Huffman codec: optimal and bounded size, hostile tables and streams, agreement with a plain decoder."""

from __future__ import annotations

import heapq
import json
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from plain_codecs import decode_huffman
from tersor.codec.huffman import Huffman
from tersor.errors import CorruptError

GOLDEN = Path(__file__).parent.parent / "golden" / "codecs" / "huffman.json"


def decode(payload: bytes, n_out: int) -> bytes:
    out = bytearray(n_out)
    Huffman().decode(payload, memoryview(out))
    return bytes(out)


def unlimited_huffman_bits(data: bytes) -> int:
    """Size in bits of an optimal code without a limit: the sum of all merged weights."""
    heap = list(Counter(data).values())
    heapq.heapify(heap)
    n_bits = 0
    while len(heap) > 1:
        merged = heapq.heappop(heap) + heapq.heappop(heap)
        n_bits += merged
        heapq.heappush(heap, merged)
    return n_bits


def fibonacci_data() -> bytes:
    """Counts 1, 1, 2, 3, 5, ... need codes of 19 bits if nothing limits them."""
    counts = [1, 1]
    while len(counts) < 20:
        counts.append(counts[-1] + counts[-2])
    return b"".join(bytes([symbol]) * count for symbol, count in enumerate(counts))


@given(st.one_of(st.binary(max_size=2500), st.lists(st.sampled_from(range(9)), max_size=2500).map(bytes)))
def test_plain_decoder_reads_what_the_codec_writes(data: bytes) -> None:
    assert decode_huffman(Huffman().encode(data), len(data)) == data


def test_plain_decoder_reads_the_goldens() -> None:
    for case in json.loads(GOLDEN.read_text())["cases"]:
        data = bytes.fromhex(case["data"])
        assert decode_huffman(bytes.fromhex(case["payload"]), len(data)) == data, case["what"]


@given(st.lists(st.sampled_from(range(30)), min_size=2, max_size=1000).map(bytes))
def test_one_stream_is_as_short_as_an_optimal_code(data: bytes) -> None:
    n_bits = unlimited_huffman_bits(data)
    if n_bits > 0:
        table_bytes = 15 + 2  # at most 30 nibbles, form, rounding
        assert (n_bits + 7) // 8 <= len(Huffman().encode(data)) <= (n_bits + 7) // 8 + table_bytes


def test_codes_that_want_19_bits_are_limited_to_12_and_cost_little() -> None:
    data = fibonacci_data()
    payload = Huffman().encode(data)
    assert decode(payload, len(data)) == data
    assert decode_huffman(payload, len(data)) == data
    assert len(payload) <= 1.005 * unlimited_huffman_bits(data) / 8 + 40


@pytest.mark.parametrize("n_bytes", [1, 2, 255, 1023, 1024, 1025, 1026, 1027, 100_003])
def test_random_data_grows_by_at_most_160_bytes(n_bytes: int) -> None:
    data = np.random.default_rng(n_bytes).integers(0, 256, n_bytes, dtype=np.uint8).tobytes()
    payload = Huffman().encode(data)
    assert len(payload) <= n_bytes + 160
    assert decode(payload, n_bytes) == data


@pytest.mark.parametrize("n_symbols", [2, 3, 17, 129, 256])
@pytest.mark.parametrize("n_bytes", [1024, 1025, 1027, 4099, 65_537])
def test_four_streams_of_any_remainder_round_trip(n_symbols: int, n_bytes: int) -> None:
    data = np.random.default_rng(n_bytes).integers(0, n_symbols, n_bytes, dtype=np.uint8).tobytes()
    payload = Huffman().encode(data)
    assert payload[0] == 4
    assert decode(payload, n_bytes) == data


def test_streams_of_very_different_length_round_trip() -> None:
    data = b"\x00" * 30_000 + bytes(range(1, 256)) * 40
    assert decode(Huffman().encode(data), len(data)) == data


def test_one_symbol_takes_two_bytes() -> None:
    assert Huffman().encode(b"\x07" * 100_000) == b"\x00\x07"


# "abracadabra" is 01 fe 14 33 d3 3b | 72 35 b9 (docs: format of codec `huffman`).
@pytest.mark.parametrize(
    ("what", "payload"),
    [
        ("unknown form", "02 fe 14 33 d3 3b 72 35 b9"),
        ("one symbol fewer than asked for", "01 fe 14 33 d3 3b 72 35 59"),
        ("nibble 15", "01 ff 14 33 d3 3b 72 35 b9"),
        ("over-subscribed code", "01 11 01 00"),
        ("incomplete code", "01 de ff 22 72 35 b9"),
        ("gap beyond the last symbol", "01 fe ff 11 72 35 b9"),
        ("nibble that pads the table", "01 21 f2 00"),
        ("no mark of the end", "01 fe 14 33 d3 3b 72 35 39"),
        ("bit behind the mark", "01 11 ff 1f"),
        ("whole byte left over", "01 fe 14 33 d3 3b 72 35 b9 00"),
        ("stream too short", "01 fe 14 33 d3 3b 72 35"),
        ("table too short", "01 fe 14 33 d3"),
        ("form alone", "01"),
        ("symbol missing", "00"),
        ("two symbols", "00 61 62"),
        ("stream size of 10 bytes", "04 11 ff ff ff ff ff ff ff ff ff 01 00 00 00"),
        ("stream size beyond the payload", "04 11 7f 00 00 00 00 00 00"),
        ("stream size not in shortest form", "04 11 81 00 01 01 00 00 00 00"),
        ("sizes missing", "04 11 01"),
    ],
)
def test_damage_raises_corrupt(what: str, payload: str) -> None:
    with pytest.raises(CorruptError, match="huffman"):
        decode(bytes.fromhex(payload), 11)


def test_plain_four_streams_of_a_short_text_decode() -> None:
    # Lengths 1, 1 for symbols 0 and 1; 11 symbols in streams of 2, 3, 3 and 3.
    assert decode(bytes.fromhex("04 11 01 01 01 06 0d 0b 0c"), 11) == bytes([0, 1, 1, 0, 1, 1, 1, 0, 0, 0, 1])
