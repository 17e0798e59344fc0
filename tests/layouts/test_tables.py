"""Entropy tables: what they promise the coders, and that merging classes saves bits."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tersor import _core
from tersor.errors import CorruptError
from tersor.layouts import Alias, Context, Dense, Grid, make_layout
from tersor.layouts.file_tables import FileCounts
from tersor.layouts.grid_tables import GridCounts
from tersor.layouts.tables import (
    FLOAT_ROW_CLASSES,
    SIDE_SYMBOLS,
    ZERO_POINTS,
    TableSet,
    compile_tables,
    count_integers,
    find_tables,
    make_side_tables,
    make_table_set,
)
from tersor.types import TensorSpec


def frequencies_of(tables: TableSet) -> list[list[int]]:
    """Unpack the bit stream as docs/format.md 5.3 defines it."""
    bits = int.from_bytes(tables.frequencies, "little")

    def take(n: int) -> int:
        nonlocal bits
        value, bits = bits & ((1 << n) - 1), bits >> n
        return value

    def frequency() -> int:
        n = take(4)
        return 1 << (n - 1) | take(n - 1) if n else 0

    unpacked = [[frequency() for _ in range(tables.symbols)] for _ in range(tables.n_tables)]
    assert bits == 0
    return unpacked


COUNTS = st.lists(
    st.lists(st.integers(0, 9) | st.integers(0, 2**40), min_size=64, max_size=64), min_size=1, max_size=3
)


@given(COUNTS, st.sampled_from([100, 1600, 16384]))
def test_frequencies_add_up_and_always_code_the_escape(counts: list[list[int]], rare: int) -> None:
    tables = make_table_set("side", np.array(counts, np.uint64), precision=12, rare=rare)
    compile_tables(tables)
    for row in frequencies_of(tables):
        assert sum(row) == 1 << 12
        assert max(row) < 1 << 12
        assert row[0] > 0


def test_symbols_that_never_occur_have_no_frequency() -> None:
    counts = np.zeros((1, 64), np.uint64)
    counts[0, [7, 32]] = 50, 50
    (row,) = frequencies_of(make_table_set("side", counts, precision=12, rare=16384))
    assert [symbol for symbol, frequency in enumerate(row) if frequency] == [0, 7, 32]


def test_rare_symbols_become_escapes() -> None:
    counts = np.zeros((1, 64), np.uint64)
    counts[0, 32], counts[0, 33], counts[0, 34] = 99_000, 101, 10
    (row,) = frequencies_of(make_table_set("side", counts, precision=12, rare=1000))
    assert row[33] > 0
    assert row[34] == 0
    assert row[0] > 0


def test_counts_are_not_modified() -> None:
    counts = np.ones((2, 64), np.uint64)
    make_table_set("side", counts, precision=12, rare=10)
    assert (counts == 1).all()


def test_float8_tables_have_the_format_a8() -> None:
    counts = np.random.default_rng(1).integers(1, 1000, (16, 16)).astype(np.uint64)
    tables = make_table_set("float8", counts, precision=8, rare=1600)
    assert (tables.symbols, tables.precision, tables.n_tables) == (16, 8, 16)
    assert all(sum(row) == 256 for row in frequencies_of(tables))


def test_damaged_tables_are_corrupt() -> None:
    tables = make_side_tables(np.ones((1, SIDE_SYMBOLS), np.uint64))
    for damaged in (
        TableSet("side", 64, 12, b"\0", tables.frequencies[:-1]),
        TableSet("side", 64, 12, b"\0\0", tables.frequencies),
        TableSet("side", 63, 12, b"\0", tables.frequencies),
        TableSet("side", 64, 8, b"\0", tables.frequencies),
        TableSet("side", 64, 12, b"\x11", tables.frequencies),
        TableSet("grid", 64, 12, b"\0", tables.frequencies, 0, b"\1"),
        TableSet("grid", 64, 12, bytes(1 << 24), tables.frequencies),
    ):
        with pytest.raises(CorruptError, match="entropy tables"):
            compile_tables(damaged)


@given(st.lists(st.lists(st.integers(-(2**31), 2**31 - 1), max_size=40), max_size=4))
def test_integers_are_counted_around_their_median(vectors: list[list[int]]) -> None:
    counts = count_integers([np.array(vector, np.int32) for vector in vectors])
    expected = np.zeros(SIDE_SYMBOLS, np.uint64)
    for vector in vectors:
        offset = sorted(vector)[len(vector) // 2] if vector else 0
        for value in vector:
            symbol = value - offset + SIDE_SYMBOLS // 2
            expected[symbol if 0 < symbol < SIDE_SYMBOLS else 0] += 1
    assert counts.tolist() == expected.tolist()


def test_integers_offset_is_what_the_coder_takes_out() -> None:
    values = np.array([5, -300, 7, 7, 6, 4000], np.int32)
    side = compile_tables(make_side_tables(count_integers([values])[None, :]))
    payload = np.frombuffer(_core.encode_integers(values, side, 0), np.uint8)
    assert payload[1] == 2 * _core.integers_offset(values)  # zigzag


def grid_of(codes: np.ndarray, classes: np.ndarray, trellis_rows: int = 0) -> Grid:
    rows = np.zeros(codes.shape[0], np.int16)
    return Grid(codes, rows, np.zeros(codes.shape[1], np.int16), rows, classes.astype(np.int16), trellis_rows)


def coded_bytes(grid: Grid) -> tuple[int, TableSet]:
    """Bytes of the grid's blocks under the tables of its own file, and these tables."""
    spec = TensorSpec("w", "F32", grid.shape)
    counts = FileCounts()
    counts.add(spec, grid)
    context = Context(table_sets=counts.make("balanced"))
    tables = find_tables(context.table_sets, "grid")
    assert tables is not None
    encoded = make_layout("grid/1").encode(spec, grid, context)
    return sum(len(job().payload) for job in encoded.blocks), tables


def test_classes_of_one_distribution_share_a_table() -> None:
    rng = np.random.default_rng(2)
    codes = np.rint(rng.standard_normal((512, 512)) * 2).astype(np.int32)
    _, tables = coded_bytes(grid_of(codes, np.arange(512) // 32))
    assert tables.n_tables == 1


def test_classes_of_different_width_have_tables_that_save_bits() -> None:
    rng = np.random.default_rng(3)
    classes = np.arange(512) // 64 * 4
    codes = np.rint(rng.standard_normal((512, 512)) * 2.0 ** (classes / 4 - 2)).astype(np.int32)
    with_classes, tables = coded_bytes(grid_of(codes, classes))
    without, _ = coded_bytes(grid_of(codes, 0 * classes))
    assert 4 <= tables.n_tables <= 8
    assert with_classes + len(tables.frequencies) < 0.85 * without


def test_a_few_codes_do_not_pay_for_many_tables() -> None:
    rng = np.random.default_rng(4)
    classes = np.arange(64)
    codes = np.rint(rng.standard_normal((2, 64)) * 2.0 ** (classes / 4)).astype(np.int32)
    _, tables = coded_bytes(grid_of(codes, classes))
    assert tables.n_tables <= 6


@pytest.mark.parametrize(("spread", "raw_bits"), [(4, 0), (20, 2), (40, 3), (100, 4), (200, 5), (400, 6)])
def test_wide_classes_split_off_raw_bits(spread: int, raw_bits: int) -> None:
    codes = np.rint(np.random.default_rng(5).standard_normal((256, 256)) * spread).astype(np.int32)
    n_bytes, tables = coded_bytes(grid_of(codes, np.full(256, 30)))
    assert tables.raw_bits[0] == raw_bits
    entropy = np.log2(spread * np.sqrt(2 * np.pi * np.e))  # of a rounded normal distribution, bits per code
    assert 8 * n_bytes < codes.size * entropy * 1.005 + 2000


def test_trellis_grids_have_tables_for_odd_states() -> None:
    codes = np.rint(np.random.default_rng(6).standard_normal((64, 64)) * 2).astype(np.int32)
    _, tables = coded_bytes(grid_of(codes, np.zeros(64), trellis_rows=16))
    assert tables.n_tables == 2
    assert bytes(tables.class_map) == b"\0\1"


def test_classes_beyond_the_counted_range_take_the_ends() -> None:
    codes = np.rint(np.random.default_rng(7).standard_normal((64, 64)) * 2).astype(np.int32)
    classes = np.where(np.arange(64) % 2, 32767, -32768)
    coded_bytes(grid_of(codes, classes))


def test_plain_and_trellis_grids_of_a_file_have_a_set_each() -> None:
    codes = np.rint(np.random.default_rng(9).standard_normal((64, 64)) * 2).astype(np.int32)
    plain, trellis = grid_of(codes, np.zeros(64)), grid_of(codes, np.zeros(64), trellis_rows=16)
    counts = GridCounts()
    counts.add(trellis)
    counts.add(plain)
    sets = counts.tables()
    assert [(tables.kind, tables.n_tables) for tables in sets] == [("grid", 1), ("grid", 2)]
    context = Context(table_sets=[*sets, make_side_tables(counts.side_counts)])
    for grid, number in ((plain, 0), (trellis, 1)):
        assert (
            make_layout("grid/1").encode(TensorSpec("a", "F32", (64, 64)), grid, context).meta.table_set
            == number
        )


def weights(seed: int) -> np.ndarray:
    return np.random.default_rng(seed).standard_normal((64, 64)).astype(np.float32)


@pytest.mark.parametrize(("level", "kind"), [("fast", "float8"), ("balanced", "float12")])
def test_a_file_with_grids_and_floats_has_one_side_set(level: str, kind: str) -> None:
    counts = FileCounts()
    counts.add(TensorSpec("a", "F32", (64, 64)), Dense(weights(8)))
    counts.add(TensorSpec("b", "F32", (8, 8)), grid_of(np.eye(8, dtype=np.int32), np.arange(8)))
    counts.add(TensorSpec("c", "F32", (64, 64)), Alias("a"))
    sets = counts.make(level)
    assert sorted(tables.kind for tables in sets) == sorted(("grid", kind, "side"))
    side = find_tables(sets, "side")
    assert side is not None
    assert side.n_tables == ZERO_POINTS  # that table is not used, those before it are


def test_a_file_of_floats_has_only_the_first_side_table() -> None:
    counts = FileCounts()
    counts.add(
        TensorSpec("a", "BF16", (64, 64)), Dense(weights(9).astype(TensorSpec("", "BF16", ()).numpy_dtype))
    )
    side = find_tables(counts.make("balanced"), "side")
    assert side is not None
    assert side.n_tables == FLOAT_ROW_CLASSES + 1


def test_zero_points_need_all_side_tables() -> None:
    ones = np.ones((4, 2), np.float32)
    zeros = np.zeros(4, np.int16)
    codes = np.zeros((4, 4), np.int32)
    grid = Grid(
        codes, zeros, zeros, zeros, zeros, group_size=2, group_scales=ones, zero_points=ones.astype(np.int32)
    )
    counts = FileCounts()
    counts.add(TensorSpec("w", "F32", (4, 4)), grid)
    side = find_tables(counts.make("balanced"), "side")
    assert side is not None
    assert side.n_tables == ZERO_POINTS + 1


def test_a_file_without_floats_and_grids_has_no_tables() -> None:
    counts = FileCounts()
    counts.add(TensorSpec("a", "I64", (8,)), Dense(np.arange(8)))
    counts.add(TensorSpec("b", "F32", (0, 8)), Dense(np.zeros((0, 8), np.float32)))
    counts.add(TensorSpec("c", "F64", (8,)), Dense(np.arange(8.0)))
    assert counts.make("balanced") == []


def test_equal_tables_are_compiled_once() -> None:
    tables = make_side_tables(np.ones((2, SIDE_SYMBOLS), np.uint64))
    again = make_side_tables(np.ones((2, SIDE_SYMBOLS), np.uint64))
    assert compile_tables(tables) is compile_tables(again)
    assert find_tables([tables], "grid") is None
