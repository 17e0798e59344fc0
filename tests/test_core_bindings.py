"""The compiled core refuses what would make it read, write or divide where it must not."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from tersor import _core
from tersor.errors import CorruptError
from tersor.layouts.tables import compile_tables, make_table_set

ONES = np.ones((1, 64), np.uint64)
SIDE = compile_tables(make_table_set("side", ONES, precision=12, rare=10**6))
GRID = compile_tables(make_table_set("grid", ONES, precision=12, rare=10**6, class_map=b"\0"))
FLOAT12 = compile_tables(make_table_set("float12", np.ones((16, 64), np.uint64), precision=12, rare=10**6))
FLOAT8 = compile_tables(make_table_set("float8", np.ones((16, 16), np.uint64), precision=8, rare=10**6))
WORDS = np.arange(64, dtype=np.uint16)
CODES = np.arange(12, dtype=np.int32).reshape(3, 4)
ROWS, COLUMNS = np.zeros(3, np.int32), np.zeros(4, np.int32)


def without_escape(n_tables: int, symbols: int, precision: int, class_map: bytes = b"") -> _core.TableSet:
    """Valid tables in which symbol 0 has no frequency: a decoder may meet them, an encoder must not."""
    frequencies = np.zeros((n_tables, symbols), np.uint16)
    frequencies[:, 1:3] = 1 << (precision - 1)
    packed = _core.pack_frequencies(frequencies)
    return _core.TableSet(symbols, precision, bytes(n_tables), packed, 0, class_map)


def test_crc_of_the_check_string() -> None:
    data = np.frombuffer(b"123456789", np.uint8)
    assert _core.crc32c(data) == 0xE3069283
    assert _core.crc32c(data[4:], _core.crc32c(data[:4])) == 0xE3069283


def test_encoders_refuse_tables_without_escape() -> None:
    side = without_escape(1, 64, 12)
    with pytest.raises(ValueError, match="side tables"):
        _core.encode_integers(np.array([1, 2, 3], np.int32), side, 0)
    with pytest.raises(ValueError, match="grid tables"):
        _core.encode_codes(CODES, ROWS, COLUMNS, 0, 1, 1, without_escape(1, 64, 12, b"\0"))
    with pytest.raises(ValueError, match="float tables"):
        _core.encode_float_rows(WORDS, 0, 0, 64, 1, 1, without_escape(16, 64, 12), SIDE, 0)
    with pytest.raises(ValueError, match="side tables"):
        _core.encode_float_rows(WORDS, 0, 0, 64, 1, 1, FLOAT12, side, 0)


def test_tables_of_the_other_stream_format_are_refused() -> None:
    with pytest.raises(ValueError, match="side tables"):
        _core.encode_integers(np.array([1, 2, 3], np.int32), FLOAT8, 0)
    payload = np.array([1, 0, 0, 0, 255, 255, 255, 255], np.uint8)
    with pytest.raises(CorruptError, match="integers"):
        _core.decode_integers(payload, FLOAT8, 0, -9, 9, np.empty(3, np.int32))
    with pytest.raises(ValueError, match="float tables"):
        _core.encode_float_rows(WORDS, 0, 1, 64, 1, 1, FLOAT12, SIDE, 0)


def test_table_numbers_beyond_the_set_are_refused() -> None:
    with pytest.raises(ValueError, match="table number"):
        _core.encode_integers(np.array([1, 2, 3], np.int32), SIDE, 1)
    with pytest.raises(ValueError, match="table number"):
        _core.decode_integers(np.zeros(2, np.uint8), SIDE, 1, -9, 9, np.empty(3, np.int32))


@pytest.mark.parametrize(
    "changes",
    [
        {"unit": 2},
        {"coder": 2},
        {"row_length": 0},
        {"n_streams": 0},
        {"n_streams": 9},
        {"lanes": 0},
        {"lanes": 3},
        {"lanes": 64},
    ],
)
def test_float_row_options_outside_the_format_are_refused(changes: dict[str, int]) -> None:
    options: dict[str, Any] = {"unit": 0, "coder": 0, "row_length": 64, "n_streams": 1, "lanes": 1}
    with pytest.raises(ValueError, match="float"):
        _core.encode_float_rows(WORDS, **(options | changes), tables=FLOAT12, side=SIDE, class_table=0)


@pytest.mark.parametrize(("n_streams", "lanes"), [(0, 1), (9, 1), (1, 0), (1, 3), (1, 64)])
def test_code_options_outside_the_format_are_refused(n_streams: int, lanes: int) -> None:
    with pytest.raises(ValueError, match="streams and lanes"):
        _core.encode_codes(CODES, ROWS, COLUMNS, 0, n_streams, lanes, GRID)


def test_classes_must_match_the_codes_and_fit_int16() -> None:
    with pytest.raises(ValueError, match="classes must match"):
        _core.encode_codes(CODES, ROWS[:2], COLUMNS, 0, 1, 1, GRID)
    with pytest.raises(ValueError, match="class out of range"):
        _core.encode_codes(CODES, ROWS + 32768, COLUMNS, 0, 1, 1, GRID)
    with pytest.raises(ValueError, match="classes must match"):
        _core.decode_codes(np.zeros(9, np.uint8), ROWS, COLUMNS[:1], 0, GRID, np.empty((3, 4), np.int32))


def test_trellis_codes_need_a_class_map_of_two_halves() -> None:
    with pytest.raises(ValueError, match="grid tables"):
        _core.encode_codes(CODES, ROWS, COLUMNS, 3, 1, 1, GRID)


def test_trellis_levels_need_room_and_a_restart() -> None:
    with pytest.raises(ValueError, match="trellis_levels"):
        _core.trellis_levels(CODES, 2, np.empty((3, 3), np.float32))
    with pytest.raises(ValueError, match="trellis_levels"):
        _core.trellis_levels(CODES, 0, np.empty((3, 4), np.float32))


def test_histograms_must_have_their_sizes() -> None:
    counts = np.zeros((1, 4, 6), np.uint64)
    with pytest.raises(ValueError, match="count_codes"):
        _core.count_codes(CODES, ROWS, COLUMNS, 0, 0, counts, np.zeros((1, 4), np.uint64))
    with pytest.raises(ValueError, match="count_float_rows"):
        _core.count_float_rows(
            WORDS, 0, 64, 0, *(np.zeros(shape, np.uint64) for shape in [(16, 64), (16, 16), 64])
        )


def test_normalize_needs_something_to_count() -> None:
    with pytest.raises(ValueError, match="normalize"):
        _core.normalize(np.zeros(64, np.uint64), 12, np.zeros(64, np.uint16))
    with pytest.raises(ValueError, match="normalize"):
        _core.normalize(np.ones(64, np.uint64), 12, np.zeros(63, np.uint16))
    with pytest.raises(ValueError, match="nonzero counts"):
        _core.normalize(np.ones(300, np.uint64), 8, np.zeros(300, np.uint16))


def test_read_only_and_wrongly_typed_outputs_are_refused() -> None:
    out = np.zeros((3, 4), np.int32)
    out.flags.writeable = False
    payload = np.frombuffer(_core.encode_codes(CODES, ROWS, COLUMNS, 0, 1, 1, GRID), np.uint8)
    with pytest.raises(TypeError, match="incompatible function arguments"):
        _core.decode_codes(payload, ROWS, COLUMNS, 0, GRID, out)
    with pytest.raises(TypeError, match="incompatible function arguments"):
        _core.decode_codes(payload, ROWS, COLUMNS, 0, GRID, np.zeros((3, 4), np.int64))
