"""Every codec of the registry keeps the contract of `tersor.codec.base.Codec`, is documented and has a golden."""

from __future__ import annotations

import json
import re
from functools import cache
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tersor.codec import CODECS, make_codec
from tersor.errors import CorruptError

TESTS = Path(__file__).parent.parent
DOCUMENTS = sorted((TESTS.parent / "docs").glob("format*.md"))
NAMES = CODECS.names()
GUARD = b"\xa5" * 16

every_codec = pytest.mark.parametrize("name", NAMES)


def decode(name: str, payload: bytes, n_out: int) -> bytes:
    """Decode between two guards and check that neither was written to, also after an error."""
    buffer = bytearray(GUARD + bytes(n_out) + GUARD)
    out = memoryview(buffer)[len(GUARD) : len(GUARD) + n_out]
    try:
        make_codec(name).decode(payload, out)
    finally:
        assert buffer[: len(GUARD)] == GUARD
        assert buffer[len(GUARD) + n_out :] == GUARD
    return bytes(out)


def noise(n_bytes: int) -> bytes:
    return np.random.default_rng(7).integers(0, 256, n_bytes, dtype=np.uint8).tobytes()


def skewed(n_bytes: int) -> bytes:
    return np.minimum(np.random.default_rng(8).geometric(0.3, n_bytes), 255).astype(np.uint8).tobytes()


SAMPLES = {
    "empty": b"",
    "one_byte": b"\x00",
    "one_symbol": b"\x80" * 3000,
    "two_bytes": b"ab",
    "two_symbols": b"ab" * 1500,
    "all_symbols": bytes(range(256)) * 8,
    "random": noise(5000),
    "skewed": skewed(5000),
    "skewed_large": skewed(300_000),
}
SMALL = {"one_symbol": b"\x80" * 40, "word": b"abracadabra", "skewed": skewed(60), "streams": skewed(1100)}


def samples_of(name: str, samples: dict[str, bytes]) -> dict[str, bytes]:
    """The samples that the codec can hold: `constant` takes only data of one symbol."""
    return {key: data for key, data in samples.items() if name != "constant" or len(set(data)) <= 1}


CASES = [(name, key) for name in NAMES for key in samples_of(name, SAMPLES)]
SMALL_CASES = [(name, key) for name in NAMES for key in samples_of(name, SMALL)]


def data_for(name: str) -> st.SearchStrategy[bytes]:
    if name == "constant":
        return st.builds(lambda symbol, n: bytes([symbol]) * n, st.integers(0, 255), st.integers(0, 2000))
    few_symbols = st.lists(st.sampled_from([0, 1, 2, 7, 255]), max_size=3000).map(bytes)
    repeated = st.builds(lambda piece, n: piece * n, st.binary(max_size=40), st.integers(0, 100))
    return st.one_of(st.binary(max_size=3000), few_symbols, repeated)


@every_codec
@given(draw=st.data())
def test_decode_undoes_encode(name: str, draw: st.DataObject) -> None:
    data = draw.draw(data_for(name))
    assert decode(name, make_codec(name).encode(data), len(data)) == data


@pytest.mark.parametrize(("name", "key"), CASES)
def test_decode_undoes_encode_of_samples(name: str, key: str) -> None:
    data = SAMPLES[key]
    assert decode(name, make_codec(name).encode(data), len(data)) == data


@every_codec
@given(payload=st.binary(max_size=300), n_out=st.integers(0, 5000))
def test_any_payload_decodes_or_raises_corrupt(name: str, payload: bytes, n_out: int) -> None:
    try:
        decode(name, payload, n_out)
    except CorruptError as error:
        assert name in str(error)  # noqa: PT017 - either outcome is right


@every_codec
def test_empty_data_has_the_empty_payload_and_no_other(name: str) -> None:
    assert make_codec(name).encode(b"") == b""
    for extra in (b"\x00", b"\x01\x02\x03\x04\x05\x06\x07\x08\x09\x0a\x0b\x0c"):
        with pytest.raises(CorruptError):
            decode(name, extra, 0)


@every_codec
def test_empty_payload_of_some_data_raises_corrupt(name: str) -> None:
    with pytest.raises(CorruptError):
        decode(name, b"", 1)


@pytest.mark.parametrize(("name", "key"), SMALL_CASES)
def test_truncated_payload_raises_corrupt_at_every_length(name: str, key: str) -> None:
    data = SMALL[key]
    payload = make_codec(name).encode(data)
    for n_bytes in range(len(payload)):
        with pytest.raises(CorruptError):
            decode(name, payload[:n_bytes], len(data))


@pytest.mark.parametrize(("name", "key"), SMALL_CASES)
def test_bytes_behind_the_payload_raise_corrupt(name: str, key: str) -> None:
    data = SMALL[key]
    payload = make_codec(name).encode(data)
    for extra in (b"\x00", b"\x00" * 9, payload):
        with pytest.raises(CorruptError):
            decode(name, payload + extra, len(data))


@pytest.mark.parametrize(("name", "key"), SMALL_CASES)
def test_every_flipped_bit_gives_the_length_asked_for_or_raises_corrupt(name: str, key: str) -> None:
    data = SMALL[key]
    payload = make_codec(name).encode(data)
    for bit in range(8 * len(payload)):
        changed = bytearray(payload)
        changed[bit // 8] ^= 1 << bit % 8
        try:
            assert len(decode(name, bytes(changed), len(data))) == len(data)
        except CorruptError as error:
            assert name in str(error)  # noqa: PT017 - either outcome is right


@pytest.mark.parametrize(("name", "key"), SMALL_CASES)
def test_another_length_of_the_data_raises_corrupt(name: str, key: str) -> None:
    data = SMALL[key]
    payload = make_codec(name).encode(data)
    fits_every_length = len(set(data)) == 1
    for n_out in (0,) if fits_every_length else (0, 1, len(data) - 1, len(data) + 1, 10 * len(data)):
        with pytest.raises(CorruptError):
            decode(name, payload, n_out)


@every_codec
def test_encode_reads_any_contiguous_buffer_and_leaves_it_alone(name: str) -> None:
    array = np.full((4, 5), 257, np.uint16)
    array[:] = 0x0101
    payload = make_codec(name).encode(array)
    for same in (array.tobytes(), bytearray(array.tobytes()), memoryview(array)):
        assert make_codec(name).encode(same) == payload
    assert (array == 0x0101).all()


@pytest.mark.parametrize(("name", "key"), CASES)
def test_encode_is_deterministic(name: str, key: str) -> None:
    assert make_codec(name).encode(SAMPLES[key]) == make_codec(name).encode(SAMPLES[key])


@every_codec
def test_class_carries_the_id_of_the_registry(name: str) -> None:
    assert CODECS.get(name).name == name
    assert CODECS.get(name).__doc__


@cache
def golden_of(name: str) -> list[dict[str, str]]:
    path = TESTS / "golden" / "codecs" / f"{name}.json"
    assert path.exists(), (
        f"codec {name!r} has no golden; run python tests/conformance/make_codec_goldens.py and commit it"
    )
    cases: list[dict[str, str]] = json.loads(path.read_text())["cases"]
    return cases


@every_codec
def test_goldens_decode_to_the_same_bytes_for_ever(name: str) -> None:
    cases = golden_of(name)
    assert cases
    for case in cases:
        data = bytes.fromhex(case["data"])
        assert decode(name, bytes.fromhex(case["payload"]), len(data)) == data, case["what"]


def documented_example(name: str) -> tuple[bytes, bytes]:
    """The data and the payload of the worked example in the section on codec `name`."""
    text = "\n".join(path.read_text() for path in DOCUMENTS)
    section = re.search(rf"^#+ Codec `{re.escape(name)}`\n(.*?)(?=^#+ |\Z)", text, re.MULTILINE | re.DOTALL)
    assert section, f"codec {name!r} has no section 'Codec `{name}`' in docs/format*.md"
    example = re.search(r"^data +([0-9a-f ]+)\npayload +([0-9a-f ]+)$", section[1], re.MULTILINE)
    assert example, (
        f"section 'Codec `{name}`' of the format document has no example ('data ...', 'payload ...')"
    )
    return bytes.fromhex(example[1]), bytes.fromhex(example[2])


@every_codec
def test_documented_example_is_what_the_codec_does(name: str) -> None:
    data, payload = documented_example(name)
    assert decode(name, payload, len(data)) == data
    if name != "zstd":  # its frames differ between versions of the library
        assert make_codec(name).encode(data) == payload
