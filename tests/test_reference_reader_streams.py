"""The reference reader's streams, layouts and files, against bytes written by the document's rules."""

import struct
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from handmade_archives import (
    CODEBOOK,
    CODES,
    DENSE,
    RECORDS,
    SETS,
    archive_bytes,
    dense_record,
    encode,
    expected_grid,
    file_record,
    flat_frequencies,
    sample_tensors,
    small_archive,
    write_codes,
    write_float_rows,
    write_folder,
    write_integers,
)
from reference_reader import Archive, FormatError, UnsupportedError, read_archive
from reference_reader.codes import read_codes
from reference_reader.cursor import Cursor
from reference_reader.dtypes import float32_to_bf16
from reference_reader.float_rows import BF16, F16, FloatFormat, read_coder, read_float_rows
from reference_reader.integers import I16, read_integers
from reference_reader.rans import A8, A12, LaneDecoder, StreamFormat, Tables, slot_map

FREQUENCIES = st.sampled_from([(16, 8), (16, 12), (32, 12), (64, 12), (128, 12)]).flatmap(
    lambda size: (
        st.lists(st.integers(0, 40), min_size=size[0], max_size=size[0])
        .filter(lambda weights: sum(weight > 0 for weight in weights) > 1)
        .map(lambda weights: (scaled(weights, size[1]), size[1]))
    )
)


def scaled(weights: list[int], precision: int) -> list[int]:
    """`weights` made to sum to 2**precision, zeros and non-zeros kept."""
    room = (1 << precision) - sum(weight > 0 for weight in weights)
    frequencies = [(weight * room // sum(weights) + 1) * (weight > 0) for weight in weights]
    frequencies[weights.index(max(weights))] += (1 << precision) - sum(frequencies)
    return frequencies


@given(FREQUENCIES)
def test_alias_table_gives_each_symbol_its_offsets_once(case: tuple[list[int], int]) -> None:
    frequencies, precision = case
    symbols, offsets = slot_map(frequencies, precision)
    for symbol, frequency in enumerate(frequencies):
        assert sorted(offsets[symbols == symbol].tolist()) == list(range(frequency))


@pytest.mark.parametrize("n_lanes", [1, 2, 4, 8, 16, 32])
@pytest.mark.parametrize("form", [A8, A12])
def test_stream_returns_its_symbols_and_rejects_other_ends(form: StreamFormat, n_lanes: int) -> None:
    frequencies = flat_frequencies(16, form.precision)
    tables = Tables(form, [frequencies, frequencies[::-1]], [0, 0])
    rng = np.random.default_rng(n_lanes)
    symbols, numbers = rng.integers(0, 16, 1001), rng.integers(0, 2, 1001)
    packed = encode(symbols, numbers, [frequencies, frequencies[::-1]], form, n_lanes)
    states, stream = np.frombuffer(packed[0], form.state_type), np.frombuffer(packed[1], form.word_type)
    decoder = LaneDecoder(tables, states, stream, "test")
    assert (decoder.decode(numbers) == symbols).all()
    decoder.finish()
    for other in (stream[:-1], np.append(stream, stream[:1])):
        decoder = LaneDecoder(tables, states, other, "test")
        with pytest.raises(FormatError, match="words"):
            decoder.decode(numbers), decoder.finish()
    with pytest.raises(FormatError, match="below"):
        LaneDecoder(tables, states * 0, stream, "test")


@settings(deadline=None)
@given(st.lists(st.integers(-40, 40) | st.integers(*I16), max_size=70), st.integers(0, 5), st.integers(0, 5))
def test_integers_round_trip(values: list[int], table: int, log2_lanes: int) -> None:
    cursor = Cursor(write_integers(values, table, log2_lanes), "test")
    limits = (2 * I16[0], 2 * I16[1])
    assert read_integers(cursor, len(values), SETS, table, limits).tolist() == values
    cursor.finish()


@pytest.mark.parametrize("restart", [0, 1, 3, 64])
@pytest.mark.parametrize(("n_rows", "n_columns"), [(1, 1), (1, 70), (13, 5), (10, 32), (7, 45)])
@pytest.mark.parametrize("n_streams", [1, 2, 5])
def test_codes_round_trip(n_rows: int, n_columns: int, restart: int, n_streams: int) -> None:
    rng = np.random.default_rng(n_rows * n_columns)
    codes = np.round(rng.standard_cauchy((n_rows, n_columns)) * 4).astype(np.int64)
    classes = rng.integers(-2, 3, n_rows).tolist(), rng.integers(-2, 3, n_columns).tolist()
    payload = write_codes(codes, *classes, restart, n_streams, log2_lanes=5 - n_streams)
    cursor = Cursor(payload, "test")
    back, odd = read_codes(cursor, *map(np.array, classes), SETS.parsed[1], restart)
    cursor.finish()
    np.testing.assert_array_equal(back, codes)
    assert restart > 1 or not odd.any()


@pytest.mark.parametrize("form", [BF16, F16])
@pytest.mark.parametrize("fast", [False, True])
def test_float_rows_return_every_word(form: FloatFormat, fast: bool) -> None:
    values = np.random.default_rng(3).permutation(1 << 16)[:20_000].astype(np.uint16)
    classes = np.random.default_rng(4).integers(-9, 9, -(-len(values) // 1500)).tolist()
    payload = write_float_rows(values, form, fast, classes, 1500, n_streams=3)
    cursor = Cursor(payload, "test")
    np.testing.assert_array_equal(
        read_float_rows(cursor, len(values), form, SETS, read_coder(cursor)), values
    )
    cursor.finish()


def test_unknown_float_coder_is_unsupported() -> None:
    with pytest.raises(UnsupportedError, match="float coder 3"):
        read_coder(Cursor(b"\3", "test"))


def test_folder_gives_tensors_files_and_what_is_unreadable(tmp_path: Path) -> None:
    write_folder(tmp_path)
    archive = read_archive(tmp_path)
    np.testing.assert_array_equal(archive.tensors["dense"], DENSE)
    assert archive.tensors["tied"] is archive.tensors["dense"]
    assert archive.tensors["scalar"].shape == ()
    assert archive.tensors["scalar"] == 7
    assert archive.tensors["empty ∅"].shape == (0, 5)
    np.testing.assert_array_equal(archive.tensors["plain"], expected_grid(CODES))
    np.testing.assert_array_equal(archive.tensors["trellis"], expected_grid(CODES, restart=3))
    rounded = float32_to_bf16(expected_grid(np.abs(CODES) % 4, codebook=CODEBOOK))
    np.testing.assert_array_equal(archive.tensors["codebook"], rounded)
    assert archive.tensors["grouped"].dtype == np.float64
    np.testing.assert_array_equal(archive.tensors["grouped"], expected_grid(CODES, group_size=13).T)
    assert list(archive.unreadable) == ["future"]
    assert "future/1" in archive.unreadable["future"]
    assert archive.files == {
        "model.safetensors": b"header" + DENSE.tobytes() + b"!",
        "sub/notes": b"some notes",
        "config.json": b"{}",
        "vocab.txt": b"words",
    }
    assert archive.provenance == {"seed": 1}
    assert (archive.empty_folders, archive.is_file, archive.lossless) == (["void"], False, True)


def read_bytes(tmp_path: Path, data: bytes) -> Archive:
    path = tmp_path / "model.tersor.safetensors"
    path.write_bytes(data)
    return read_archive(path)


def test_newer_version_is_rejected_by_its_number(tmp_path: Path) -> None:
    with pytest.raises(UnsupportedError, match="version 2"):
        read_bytes(tmp_path, archive_bytes(sample_tensors(), [], None, version=2))


def test_unknown_codec_makes_only_its_tensors_unreadable(tmp_path: Path) -> None:
    archive = read_bytes(tmp_path, archive_bytes(sample_tensors(), [], None, index={2: ["future"]}))
    assert set(archive.unreadable) == {"dense", "scalar", "tied", "future"}
    assert "codec 'future'" in archive.unreadable["dense"]


def test_unknown_table_set_makes_only_its_tensors_unreadable(tmp_path: Path) -> None:
    records = [RECORDS[0], ["later", 1], *RECORDS[2:]]
    archive = read_bytes(tmp_path, archive_bytes(sample_tensors(), [], None, index={3: records}))
    assert set(archive.unreadable) == {"plain", "grouped", "trellis", "codebook", "future"}


def test_missing_changed_or_foreign_parts_of_a_folder_are_rejected(tmp_path: Path) -> None:
    write_folder(tmp_path)
    (tmp_path / "vocab.txt").write_bytes(b"sword")
    with pytest.raises(FormatError, match=r"vocab\.txt.*SHA-256"):
        read_archive(tmp_path)
    (tmp_path / "vocab.txt").unlink()
    with pytest.raises(FormatError, match=r"vocab\.txt.*cannot be read"):
        read_archive(tmp_path)
    (tmp_path / "sub" / "notes.tersor.safetensors").write_bytes(archive_bytes({}, [], None))
    with pytest.raises(FormatError, match="belongs to another archive"):
        read_archive(tmp_path)
    (tmp_path / "model.tersor.safetensors").unlink()
    with pytest.raises(FormatError, match="0 archive files carry the folder record"):
        read_archive(tmp_path)


@pytest.mark.parametrize("path", ["../up", "/root", "a//b", "a/./b", ""])
def test_paths_that_leave_the_folder_are_rejected(tmp_path: Path, path: str) -> None:
    with pytest.raises(FormatError, match="relative"):
        read_bytes(tmp_path, archive_bytes({}, [file_record(path, b"x", [b"x"])], None))


def test_every_truncation_is_rejected(tmp_path: Path) -> None:
    data = small_archive()
    for length in range(len(data)):
        with pytest.raises(FormatError):
            read_bytes(tmp_path, data[:length])


def test_flipped_bits_are_rejected_or_make_the_form_of_a_block_unknown(tmp_path: Path) -> None:
    data = small_archive()
    assert not read_bytes(tmp_path, data).unreadable
    for bit in range(0, 8 * len(data), 5):  # one or two in each byte
        flipped = bytearray(data)
        flipped[bit // 8] ^= 1 << bit % 8
        try:
            assert "form" in read_bytes(tmp_path, bytes(flipped)).unreadable["d"], bit
        except FormatError:
            continue


def test_index_is_checked_before_it_is_decompressed(tmp_path: Path) -> None:
    data = bytearray(small_archive())
    n_front = 8 + struct.unpack_from("<Q", data)[0]
    data[n_front + 20 + 4] ^= 1 << 4  # the one bit of a zstd frame header that RFC 8878 calls unused
    with pytest.raises(FormatError, match="checksum of the index"):
        read_bytes(tmp_path, bytes(data))


@pytest.mark.parametrize(
    ("stored", "message"), [(b"\7", "form 7 of a dense block"), (b"\2\3", "float unit 3")]
)
def test_unknown_form_or_unit_makes_only_its_tensor_unreadable(
    tmp_path: Path, stored: bytes, message: str
) -> None:
    record = ["U8", [1], 0, None, None, 0, 1, 1, bytes([len(stored)]), bytes(4)]
    tensors = {"later": (record, stored), "dense": dense_record(DENSE, "F32", 4, 32)}
    archive = read_bytes(tmp_path, archive_bytes(tensors, [], None))
    assert list(archive.tensors) == ["dense"]
    assert message in archive.unreadable["later"]


def test_unknown_dtype_makes_only_its_tensor_unreadable(tmp_path: Path) -> None:
    record = ["F3", [2], 0, None, None, 0, 1, 2, b"\4", bytes(4)]
    tensors = {"later": (record, bytes(4)), "dense": dense_record(DENSE, "F32", 4, 32)}
    archive = read_bytes(tmp_path, archive_bytes(tensors, [], None))
    assert list(archive.tensors) == ["dense"]
    assert "dtype 'F3'" in archive.unreadable["later"]


def test_white_space_in_the_header_is_rejected(tmp_path: Path) -> None:
    data = small_archive()
    n_header = struct.unpack_from("<Q", data)[0]
    spaced = data[8 : 8 + n_header].rstrip(b" ").replace(b'"shape":', b'"shape": ', 1)
    spaced += b" " * (-len(spaced) % 8)
    with pytest.raises(FormatError, match="white space"):
        read_bytes(tmp_path, struct.pack("<Q", len(spaced)) + spaced + data[8 + n_header :])


def test_sub_byte_tensor_takes_whole_bytes(tmp_path: Path) -> None:
    record = ["F6_E2M3", [3], *dense_record(np.arange(3, dtype=np.uint8), "U8", 1, 3)[0][2:]]
    stream = dense_record(np.arange(3, dtype=np.uint8), "U8", 1, 3)[1]
    archive = read_bytes(tmp_path, archive_bytes({"t": (record, stream)}, [], None))
    assert archive.tensors["t"].tolist() == [0, 1, 2]  # 18 bits
