"""The reference reader's own parts against other people's implementations and the documents' examples."""

import ast
import json
import re
import sys
from pathlib import Path

import blake3 as blake3_package
import msgspec
import numpy as np
import pytest
import zstandard
from hypothesis import given, settings
from hypothesis import strategies as st

from reference_reader import FormatError, UnsupportedError, codecs, msgpack, zstd
from reference_reader.blake3 import blake3
from reference_reader.crc32c import crc32c
from reference_reader.cursor import Cursor
from reference_reader.dtypes import bf16_to_float32, float32_to_bf16

DOCS = Path(__file__).parent.parent / "docs"
GOLDEN_CODECS = sorted((Path(__file__).parent / "golden" / "codecs").glob("*.json"))


def skewed_bytes(n_bytes: int, n_symbols: int, seed: int) -> bytes:
    """Bytes of which each is half as frequent as the one before."""
    numbers = np.random.default_rng(seed).geometric(0.5, n_bytes)
    return np.minimum(numbers - 1, n_symbols - 1).astype(np.uint8).tobytes()


def words(n_bytes: int, seed: int) -> bytes:
    """Text-like bytes with repeats near and far."""
    vocabulary = [b"alpha ", b"beta ", b"gamma, ", b"delta. ", b"epsilon\n", b"zeta ", b"eta ", b"theta "]
    picks = np.random.default_rng(seed).integers(0, len(vocabulary), n_bytes // 4)
    return b"".join(vocabulary[pick] for pick in picks)[:n_bytes]


ZSTD_INPUTS = {
    "empty": b"",
    "one byte": b"a",
    "repeats": b"ab" * 1000,
    "run": b"x" * 300_000,
    "noise": np.random.default_rng(1).bytes(3000),
    "few symbols": skewed_bytes(200_000, 40, seed=2),
    "two symbols": skewed_bytes(5000, 2, seed=3),
    "words": words(180_000, seed=4),
    "records": b"".join(np.random.default_rng(n).bytes(5) + b" = record;" for n in range(400)),
    "mixed": words(9000, seed=5) + np.random.default_rng(6).bytes(4000) + words(9000, seed=5),
}


@pytest.mark.parametrize("level", [-5, *range(1, 23)])
def test_zstd_reads_frames_of_every_level(level: int) -> None:
    for name, data in ZSTD_INPUTS.items():
        frame = zstandard.ZstdCompressor(level=level).compress(data)
        assert zstd.decompress(frame, len(data)) == data, name


@pytest.mark.parametrize("name", ZSTD_INPUTS)
def test_zstd_checks_the_content_checksum(name: str) -> None:
    data = ZSTD_INPUTS[name]
    frame = zstandard.ZstdCompressor(write_checksum=True).compress(data)
    assert zstd.decompress(frame, len(data)) == data
    with pytest.raises(FormatError, match="checksum"):
        zstd.decompress(frame[:-1] + bytes([frame[-1] ^ 1]), len(data))


@settings(max_examples=150, deadline=None)
@given(
    pieces=st.lists(
        st.tuples(st.binary(max_size=40), st.integers(1, 60))
        | st.tuples(st.just(b"\0"), st.integers(1, 5000)),
        max_size=12,
    ),
    level=st.integers(1, 22),
)
def test_zstd_reads_what_zstandard_writes(pieces: list[tuple[bytes, int]], level: int) -> None:
    data = b"".join(piece * count for piece, count in pieces)
    assert zstd.decompress(zstandard.ZstdCompressor(level=level).compress(data), len(data)) == data


def test_zstd_rejects_every_truncation() -> None:
    data = words(3000, seed=7) + skewed_bytes(3000, 9, seed=8)
    frame = zstandard.ZstdCompressor(level=19).compress(data)
    for length in range(len(frame)):
        with pytest.raises(FormatError):
            zstd.decompress(frame[:length], len(data))


def test_zstd_meets_any_flipped_bit_with_a_format_error_or_some_bytes() -> None:
    data = words(900, seed=9) + skewed_bytes(900, 9, seed=10)
    frame = zstandard.ZstdCompressor(level=19).compress(data)
    for bit in range(8 * len(frame)):
        flipped = bytearray(frame)
        flipped[bit // 8] ^= 1 << bit % 8
        try:
            assert len(zstd.decompress(bytes(flipped), len(data))) == len(data)
        except FormatError:
            continue


def test_zstd_rejects_a_frame_that_states_another_size_or_none() -> None:
    frame = zstandard.ZstdCompressor().compress(b"some bytes")
    with pytest.raises(FormatError, match="content size 10, 11 expected"):
        zstd.decompress(frame, 11)
    unsized = zstandard.ZstdCompressor(write_content_size=False).compress(b"some bytes")
    with pytest.raises(FormatError, match="content size None"):
        zstd.decompress(unsized, 10)


@pytest.mark.parametrize(
    "n_bytes", [0, 1, 3, 63, 64, 65, 128, 1023, 1024, 1025, 2048, 2049, 3072, 5000, 31744, 100_000, 1 << 20]
)
def test_blake3_equals_the_package(n_bytes: int) -> None:
    data = np.random.default_rng(n_bytes).bytes(n_bytes)
    assert blake3(data) == blake3_package.blake3(data).digest()


def test_crc32c_of_the_check_string_and_of_rfc_3720_examples() -> None:
    assert crc32c(b"123456789") == 0xE3069283
    assert crc32c(bytes(32)) == 0x8A9136AA
    assert crc32c(b"\xff" * 32) == 0x62A8AB43
    assert crc32c(bytes(range(32))) == 0x46DD794E


def test_crc32c_of_long_data_equals_that_of_its_bytes_one_by_one() -> None:
    data = np.random.default_rng(0).bytes(50_001)
    register = 0xFFFFFFFF
    for byte in data:
        register ^= byte
        for _ in range(8):
            register = register >> 1 ^ (0x82F63B78 if register & 1 else 0)
    assert crc32c(data) == register ^ 0xFFFFFFFF


PLAIN_VALUES = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(1 << 63), (1 << 64) - 1)
    | st.floats(allow_nan=False)
    | st.text(max_size=300)
    | st.binary(max_size=300),
    lambda inner: st.lists(inner, max_size=20) | st.dictionaries(st.text(max_size=9), inner, max_size=20),
    max_leaves=40,
)


@given(PLAIN_VALUES)
def test_msgpack_equals_msgspec(value: object) -> None:
    packed = msgspec.msgpack.encode(value)
    assert msgpack.unpack(packed) == value
    with pytest.raises(FormatError):
        msgpack.unpack(packed + b"\0")
    with pytest.raises(FormatError):
        msgpack.unpack(packed[:-1])


@pytest.mark.parametrize("length", [31, 32, 255, 256, 65535, 65536])
def test_msgpack_reads_all_length_fields(length: int) -> None:
    for value in ("x" * length, b"x" * length, [1] * length, dict.fromkeys(range(length), 0)):
        assert msgpack.unpack(msgspec.msgpack.encode(value)) == value


def test_msgpack_rejects_extensions_and_deep_nesting() -> None:
    with pytest.raises(FormatError, match="type 0xd4"):
        msgpack.unpack(b"\xd4\x01\x00")
    with pytest.raises(FormatError, match="nested deeper"):
        msgpack.unpack(b"\x91" * 5000 + b"\xc0")


@pytest.mark.parametrize(
    "data", [b"\x80\x00", b"\xff\x00", b"\xff" * 10 + b"\x01", b"\xff" * 9 + b"\x02", b"\x80"]
)
def test_varint_rejects_long_forms_and_values_beyond_64_bits(data: bytes) -> None:
    with pytest.raises(FormatError):
        Cursor(data, "test").varint()


@given(st.integers(0, (1 << 64) - 1))
def test_varint_reads_leb128(value: int) -> None:
    rest, data = value, bytearray()
    while rest >= 0x80:
        data.append(rest & 0x7F | 0x80)
        rest >>= 7
    assert Cursor(bytes([*data, rest]), "test").varint() == value


def test_bf16_rounds_to_nearest_even() -> None:
    every_word = np.arange(1 << 16, dtype=np.uint16)
    values = bf16_to_float32(every_word)
    is_number = ~np.isnan(values)
    np.testing.assert_array_equal(float32_to_bf16(values)[is_number], every_word[is_number])
    assert np.isnan(bf16_to_float32(float32_to_bf16(values[~is_number]))).all()
    halfway = np.array([0x3F808000, 0x3F818000, 0x3F808001, 0x7F7FFFFF], np.uint32).view(np.float32)
    assert float32_to_bf16(halfway).tolist() == [0x3F80, 0x3F82, 0x3F81, 0x7F80]


def documented_examples() -> list[tuple[str, bytes, bytes]]:
    """(codec, data, payload) of every example in the codec document."""
    sections = re.split(r"^## Codec `(\w+)`$", (DOCS / "format-codecs.md").read_text("utf-8"), flags=re.M)
    examples = []
    for name, text in zip(sections[1::2], sections[2::2], strict=True):
        for data, payload in re.findall(r"^data +([0-9a-f ]+)\npayload +([0-9a-f ]+)$", text, flags=re.M):
            examples.append((name, bytes.fromhex(data), bytes.fromhex(payload)))
    return examples


def test_codec_document_has_an_example_of_each_of_its_codecs() -> None:
    assert {name for name, _, _ in documented_examples()} == set(codecs.CODECS)


def test_reader_imports_the_standard_library_and_numpy_only() -> None:
    for path in (Path(__file__).parent / "reference_reader").glob("*.py"):
        for node in ast.walk(ast.parse(path.read_text("utf-8"))):
            names = [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
            if isinstance(node, ast.ImportFrom) and node.level == 0:
                names = [str(node.module)]
            for name in names:
                assert name.split(".")[0] in {"numpy", *sys.stdlib_module_names}, f"{path.name}: {name}"


@pytest.mark.parametrize(("name", "data", "payload"), documented_examples())
def test_documented_example_decodes(name: str, data: bytes, payload: bytes) -> None:
    assert codecs.decode(name, payload, len(data)) == data
    for length in range(len(payload)):
        with pytest.raises(FormatError):
            codecs.decode(name, payload[:length], len(data))
    with pytest.raises(FormatError):
        codecs.decode(name, payload + b"\0", len(data))


@pytest.mark.parametrize("path", GOLDEN_CODECS, ids=lambda path: path.stem)
def test_golden_payloads_decode(path: Path) -> None:
    golden = json.loads(path.read_text("utf-8"))
    assert golden["cases"]
    for case in golden["cases"]:
        data = bytes.fromhex(case["data"])
        assert codecs.decode(golden["codec"], bytes.fromhex(case["payload"]), len(data)) == data, case["what"]


@pytest.mark.parametrize("name", codecs.CODECS)
@given(payload=st.binary(max_size=60), n_bytes=st.integers(0, 300))
def test_any_payload_gives_the_bytes_asked_for_or_a_format_error(
    name: str, payload: bytes, n_bytes: int
) -> None:
    try:
        assert len(codecs.decode(name, payload, n_bytes)) == n_bytes
    except FormatError:
        return


def test_unknown_codec_is_named() -> None:
    with pytest.raises(UnsupportedError, match="codec 'future'"):
        codecs.decode("future", b"", 0)
