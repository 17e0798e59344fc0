"""The compiled float blocks check every number that they are given before they use it."""

from __future__ import annotations

from typing import Any

import ml_dtypes
import numpy as np
import pytest

from tersor import _core
from tersor.layouts.float_max import compile_codes
from tersor.layouts.float_tables import float_context
from tersor.layouts.tables import compile_tables, find_tables
from tersor.types import TensorSpec

ROWS, COLUMNS = 64, 64
RNG = np.random.default_rng(0)
VALUES = RNG.standard_normal((ROWS, COLUMNS)) * 2.0 ** RNG.integers(-6, 6, (ROWS, 1))
WORDS = VALUES.astype(ml_dtypes.bfloat16).view(np.uint16)
DATA = WORDS.reshape(-1).view(np.uint8)
# array, first byte, rows, columns, unit, row length, streams, lanes, begin and end of the room
JOB = (0, 0, ROWS, COLUMNS, 0, COLUMNS, 2, 32, 0, 20000)
BAD_FIELDS = {
    "array": (0, 1),
    "begins behind the array": (1, DATA.size + 1),
    "ends behind the array": (1, 2),
    "no rows": (2, 0),
    "too many rows": (2, ROWS + 1),
    "huge": (2, 1 << 62),
    "negative": (3, -1),
    "unit": (4, 3),
    "row length": (5, 0),
    "streams": (6, 9),
    "lanes": (7, 3),
    "room ends before it begins": (8, 20001),
    "room ends behind the memory": (9, 20001),
}


def tables(level: str) -> dict[str, Any]:
    spec = TensorSpec("w", "BF16", WORDS.shape)
    context = float_context(lambda: [(spec, WORDS.view(ml_dtypes.bfloat16))], level, "auto")
    found = {
        kind: find_tables(context.table_sets, kind) for kind in ("float12", "float8", "float12max", "side")
    }
    return {"model": context.float_models.get("w"), **{kind: t for kind, t in found.items() if t is not None}}


def encode(jobs: Any, n_room: int = 20000, **changes: Any) -> np.ndarray:
    sets = tables("balanced")
    options = {
        "coder": 0,
        "tables": compile_tables(sets["float12"]),
        "side": compile_tables(sets["side"]),
    } | changes
    results = np.zeros((len(jobs), 3), np.int64)
    _core.encode_float_blocks(
        [DATA],
        np.array(jobs, np.int64),
        options["coder"],
        options["tables"],
        options["side"],
        options.get("class_table", 0),
        0,
        False,
        options.get("threads", 1),
        np.zeros(n_room, np.uint8),
        results,
    )
    return results


def test_job_that_is_right_is_done() -> None:
    begin, end, crc = encode([JOB])[0]
    assert 0 < begin < end <= 20000
    assert crc == _core.crc32c(DATA, 0)


@pytest.mark.parametrize("what", BAD_FIELDS)
def test_bad_field_of_a_job_is_refused(what: str) -> None:
    place, value = BAD_FIELDS[what]
    job = list(JOB)
    job[place] = value
    with pytest.raises(ValueError, match=r"block|row length|streams and lanes"):
        encode([JOB, job])
    counts = (np.zeros((16, 64), np.uint64), np.zeros((16, 16), np.uint64), np.zeros(64, np.uint64))
    table = np.array([job], np.int64)
    if "behind the memory" not in what:  # counting needs no room
        with pytest.raises(ValueError, match=r"block|row length|streams and lanes"):
            _core.count_float_blocks([DATA], table, 100, 1, *counts)


@pytest.mark.parametrize(
    "changes", [{"coder": 2}, {"coder": 1}, {"class_table": 99}, {"threads": 0}], ids=str
)
def test_bad_options_are_refused(changes: dict[str, int]) -> None:
    with pytest.raises(ValueError, match=r"coder|tables|table number|encode_float_blocks"):
        encode([JOB], **changes)


def test_room_without_space_gives_no_payload() -> None:
    job = (*JOB[:8], 0, 50)
    assert encode([job])[0].tolist() == [0, 0, _core.crc32c(DATA, 0)]


def max_block(**changes: Any) -> tuple[bytes, int]:
    sets = tables("max")
    values = {
        "data": DATA,
        "rows": ROWS,
        "columns": COLUMNS,
        "unit": 0,
        "first_row": 0,
        "first_column": 0,
    } | changes
    return _core.encode_float_max_block(
        values["data"],
        values["rows"],
        values["columns"],
        values["unit"],
        sets["model"],
        values["first_row"],
        values["first_column"],
        values.get("n_streams", 1),
        values.get("lanes", 32),
        compile_codes(sets["float12max"]),
        compile_tables(sets["side"]),
        0,
        values.get("profile_table", 8),
        0,
        False,
    )


def test_max_block_has_the_checksum_of_its_bytes() -> None:
    assert max_block()[1] == _core.crc32c(DATA, 0)


@pytest.mark.parametrize(
    "changes",
    [
        {"rows": 63},
        {"columns": 0},
        {"unit": 2},
        {"unit": 7},
        {"first_row": 1},
        {"first_column": 1},
        {"first_row": 1 << 63},
        {"n_streams": 0},
        {"lanes": 5},
        {"profile_table": 99},
    ],
    ids=str,
)
def test_bad_max_block_is_refused(changes: dict[str, int]) -> None:
    with pytest.raises(ValueError, match=r"block|streams|side tables"):
        max_block(**changes)


def test_codes_need_tables_of_level_max() -> None:
    with pytest.raises(ValueError, match="tables of level max"):
        _core.MaxCodeTables(compile_tables(tables("balanced")["float12"]))


def test_small_helpers_check_their_arguments() -> None:
    with pytest.raises(ValueError, match="plane_bits"):
        _core.plane_bits(DATA, 2, 2)
    with pytest.raises(ValueError, match="plane_bits"):
        _core.plane_bits(DATA, 0, 0)
    with pytest.raises(ValueError, match="learn_field_groups"):
        _core.learn_field_groups(np.zeros((2, 256), np.uint8), 1.0)
    with pytest.raises(ValueError, match="learn_field_groups"):
        _core.learn_field_groups(np.zeros((2, 5), np.uint8), 0.0)
    with pytest.raises(ValueError, match="trailing_zeros"):
        _core.trailing_zeros(np.zeros((2, 4), np.uint16), np.zeros(3, np.uint8))
    with pytest.raises(ValueError, match="trailing_zeros"):
        _core.trailing_zeros(np.zeros((2, 3), np.uint16), np.zeros(2, np.uint8))
