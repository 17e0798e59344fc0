"""Grids: values are exact, every kind of grid survives its blocks, damage is an error."""

from __future__ import annotations

from typing import Any

import ml_dtypes
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tersor.errors import CorruptError, NewerFormatError, NonFiniteError, ShapeError, UsageError
from tersor.layouts import Alias, Context, Grid, make_layout
from tersor.layouts.base import Encoded, EncodedBlock
from tersor.layouts.file_tables import FileCounts
from tersor.layouts.grid import MAX_EXPONENT, ROOTS
from tersor.layouts.tables import TableSet
from tersor.types import TensorSpec


def random_grid(seed: int, rows: int, columns: int, **changes: Any) -> Grid:
    rng = np.random.default_rng(seed)
    row_classes = rng.integers(-6, 7, rows).astype(np.int16)
    column_classes = rng.integers(0, 12, columns).astype(np.int16)
    scale = 2.0 ** (np.add.outer(row_classes, column_classes) / 4)
    codes = np.rint(rng.standard_normal((rows, columns)) * scale).astype(np.int32)
    parts: dict[str, Any] = {
        "codes": codes,
        "row_exponents": rng.integers(-40, -20, rows).astype(np.int16),
        "column_exponents": rng.integers(-5, 5, columns).astype(np.int16),
        "row_classes": row_classes,
        "column_classes": column_classes,
    }
    return Grid(**(parts | changes))


def tables_for(spec: TensorSpec, grid: Grid) -> list[TableSet]:
    counts = FileCounts()
    counts.add(spec, grid)
    return counts.make("balanced")


def encode(grid: Grid, spec: TensorSpec) -> tuple[Encoded, list[EncodedBlock], Context]:
    context = Context(table_sets=tables_for(spec, grid))
    encoded = make_layout("grid/1").encode(spec, grid, context)
    return encoded, [job() for job in encoded.blocks], context


def decode(encoded: Encoded, blocks: list[EncodedBlock], context: Context, spec: TensorSpec) -> np.ndarray:
    layout = make_layout("grid/1")
    rows, columns = layout.matrix_shape(spec, encoded.meta)
    decoder = layout.decoder(spec, encoded.meta, memoryview(encoded.head), encoded.head_crc, context)
    out = np.empty((rows, columns), spec.numpy_dtype)
    remaining = iter(blocks)
    for row in range(0, rows, encoded.block_rows or 1):
        for column in range(0, columns, encoded.block_columns or 1):
            block = next(remaining)
            target = out[row : row + encoded.block_rows, column : column + encoded.block_columns]
            decoder.decode(memoryview(block.payload), block.crc, row, column, target)
    assert next(remaining, None) is None
    return out


def assert_round_trip(grid: Grid, dtype: str = "F32") -> None:
    shape = grid.shape[::-1] if grid.transposed else grid.shape
    spec = TensorSpec("w", dtype, shape)
    got = decode(*encode(grid, spec), spec)
    with np.errstate(over="ignore"):
        expected = grid.to_dense().astype(spec.numpy_dtype)
    assert got.tobytes() == expected.tobytes()


def test_value_is_level_times_step_in_float32() -> None:
    grid = random_grid(0, 9, 7)
    exponents = np.add.outer(grid.row_exponents.astype(int), grid.column_exponents.astype(int))
    expected = grid.codes.astype(np.float32) * np.ldexp(ROOTS[exponents & 3], exponents >> 2).astype(
        np.float32
    )
    assert np.array_equal(grid.to_dense(), expected)


def test_group_value_subtracts_zero_point_then_scales() -> None:
    rng = np.random.default_rng(1)
    scales = rng.uniform(0.5, 2, (4, 3)).astype(np.float16)
    zeros = rng.integers(-3, 4, (4, 3)).astype(np.int32)
    grid = random_grid(1, 4, 12, group_size=4, group_scales=scales, zero_points=zeros)
    level = np.float32(grid.codes[0, 5]) - np.float32(zeros[0, 1])
    exponent = int(grid.row_exponents[0]) + int(grid.column_exponents[5])
    expected = level * np.float32(scales[0, 1]) * np.float32(np.ldexp(ROOTS[exponent & 3], exponent >> 2))
    assert grid.to_dense()[0, 5] == expected


@settings(max_examples=30, deadline=None)
@given(
    st.integers(0, 2**31),
    st.integers(1, 70),
    st.integers(1, 70),
    st.sampled_from(["F32", "BF16", "F16", "F64"]),
)
def test_any_plain_grid_survives(seed: int, rows: int, columns: int, dtype: str) -> None:
    assert_round_trip(random_grid(seed, rows, columns), dtype)


@pytest.mark.parametrize("trellis_rows", [1, 3, 16, 64])
def test_trellis_grid_survives(trellis_rows: int) -> None:
    assert_round_trip(random_grid(2, 50, 33, trellis_rows=trellis_rows))


def test_trellis_levels_follow_the_state_machine() -> None:
    codes = np.array([[1], [3], [-2], [-1], [1]], np.int32)
    zeros = np.zeros(5, np.int16)
    grid = Grid(codes, zeros, zeros[:1], zeros, zeros[:1], trellis_rows=4)
    # states 0 -1-> 2 -1-> 3 -0-> 6 -1-> 1, then a restart at row 4
    assert grid.to_dense()[:, 0].tolist() == [2, 6, -3, -2, 2]


def test_codebook_grid_survives() -> None:
    codes = np.random.default_rng(3).integers(0, 16, (40, 64)).astype(np.int32)
    codebook = np.sort(np.random.default_rng(4).standard_normal(16)).astype(np.float32)
    assert_round_trip(random_grid(3, 40, 64, codes=codes, codebook=codebook))


@pytest.mark.parametrize("dtype", [np.float32, np.float16, ml_dtypes.bfloat16])
def test_group_grid_survives(dtype: type) -> None:
    scales = np.random.default_rng(5).uniform(0.1, 3, (6, 4)).astype(dtype)
    zeros = np.random.default_rng(6).integers(-100, 100, (6, 4)).astype(np.int32)
    assert_round_trip(random_grid(5, 6, 128, group_size=32, group_scales=scales, zero_points=zeros))


def test_transposed_grid_survives() -> None:
    assert_round_trip(random_grid(7, 24, 40, transposed=True))


def test_codes_beyond_every_table_survive_as_escapes() -> None:
    codes = np.zeros((8, 8), np.int32)
    codes[1, 2], codes[3, 4], codes[7, 7] = 2**31 - 1, -(2**31), 123_456
    assert_round_trip(random_grid(8, 8, 8, codes=codes))


def test_several_blocks_and_streams_survive() -> None:
    assert_round_trip(random_grid(9, 700, 1024))
    assert_round_trip(random_grid(10, 600, 1000, trellis_rows=64))
    assert_round_trip(random_grid(11, 2, 300_000))


def test_grid_without_elements_survives() -> None:
    assert_round_trip(random_grid(12, 0, 5))
    assert_round_trip(random_grid(13, 5, 0))


def test_code_bits_come_near_the_entropy_of_the_classes() -> None:
    rng = np.random.default_rng(14)
    zeros, classes = np.zeros(512, np.int16), np.repeat(np.arange(8, dtype=np.int16), 64)
    codes = np.rint(rng.standard_normal((512, 512)) * 2.0 ** (classes / 4)).astype(np.int32)
    grid = Grid(codes, zeros, zeros, zeros, classes)
    _, blocks, _ = encode(grid, TensorSpec("w", "F32", (512, 512)))
    entropy = 0.0
    for c in range(8):
        _, n = np.unique(codes[:, classes == c], return_counts=True)
        entropy -= (n * np.log2(n / n.sum())).sum()
    coded = 8 * sum(len(block.payload) for block in blocks)
    assert coded <= entropy * 1.006 + 2000


def test_every_flipped_bit_is_an_error_or_harmless() -> None:
    grid = random_grid(15, 12, 16)
    spec = TensorSpec("w", "F32", (12, 16))
    encoded, (block,), context = encode(grid, spec)
    expected = decode(encoded, [block], context, spec)
    for bit in range(8 * len(block.payload)):
        damaged = bytearray(block.payload)
        damaged[bit // 8] ^= 1 << bit % 8
        try:
            got = decode(encoded, [EncodedBlock(bytes(damaged), block.crc)], context, spec)
        except CorruptError:
            continue
        assert got.tobytes() == expected.tobytes()


def test_truncated_block_is_corrupt_at_every_byte() -> None:
    spec = TensorSpec("w", "F32", (12, 16))
    encoded, (block,), context = encode(random_grid(16, 12, 16), spec)
    for length in range(len(block.payload)):
        with pytest.raises(CorruptError, match="tensor 'w', block at row 0, column 0"):
            decode(encoded, [EncodedBlock(block.payload[:length], block.crc)], context, spec)


def test_damaged_head_is_corrupt() -> None:
    spec = TensorSpec("w", "F32", (12, 16))
    encoded, _, context = encode(random_grid(17, 12, 16), spec)
    with pytest.raises(CorruptError, match="head"):
        make_layout("grid/1").decoder(
            spec, encoded.meta, memoryview(encoded.head[:-1]), encoded.head_crc, context
        )
    with pytest.raises(CorruptError, match="CRC-32C"):
        make_layout("grid/1").decoder(
            spec, encoded.meta, memoryview(encoded.head), encoded.head_crc ^ 1, context
        )


@pytest.mark.parametrize(
    ("meta", "error"),
    [
        ([2, 0, 0, "", 0, 0], NewerFormatError),
        ([0, 9, 0, "", 0, 0], CorruptError),
        ([0, 0, 5, "F16", 0, 0], CorruptError),
        ([0, 0, 0, "F16", 0, 0], CorruptError),
        ([0, 0, 0, "", 1 << 20, 0], CorruptError),
        ([0, 0, 0, "", 0, -1], CorruptError),
        (["x"], CorruptError),
    ],
)
def test_impossible_parameters_are_refused(meta: list[Any], error: type[Exception]) -> None:
    spec = TensorSpec("w", "F32", (12, 16))
    encoded, _, context = encode(random_grid(18, 12, 16), spec)
    with pytest.raises(error):
        make_layout("grid/1").decoder(spec, meta, memoryview(encoded.head), encoded.head_crc, context)


def test_exponents_beyond_the_format_are_refused() -> None:
    grid = random_grid(
        19, 4, 4, row_exponents=np.full(4, MAX_EXPONENT, np.int16), column_exponents=np.ones(4, np.int16)
    )
    spec = TensorSpec("w", "F32", (4, 4))
    with pytest.raises(UsageError, match="step exponents"):
        make_layout("grid/1").encode(spec, grid, Context(table_sets=tables_for(spec, grid)))


def test_grid_is_refused_where_it_cannot_be_stored() -> None:
    spec = TensorSpec("w", "F32", (4, 4))
    grid = random_grid(21, 4, 4)
    context = Context(table_sets=tables_for(spec, grid))
    layout = make_layout("grid/1")
    with pytest.raises(UsageError, match=r"codes of shape \(4, 4\) do not fit shape \(4, 5\)"):
        layout.encode(TensorSpec("w", "F32", (4, 5)), grid, context)
    with pytest.raises(UsageError, match="make them with"):
        layout.encode(spec, grid, Context())
    with pytest.raises(UsageError, match="encodes Grid, got Alias"):
        layout.encode(spec, Alias("v"), context)
    scales = np.ones((4, 2))
    grouped = random_grid(21, 4, 4, group_size=2, group_scales=scales, zero_points=scales.astype(np.int32))
    with pytest.raises(UsageError, match="scales of dtype float64"):
        layout.encode(spec, grouped, context)


def test_groups_are_never_cut_by_blocks() -> None:
    rows, columns, group_size = 2, 400_000, 160
    scales = np.ones((rows, columns // group_size), np.float32)
    grid = random_grid(
        22, rows, columns, group_size=group_size, group_scales=scales, zero_points=scales.astype(np.int32)
    )
    spec = TensorSpec("w", "F32", grid.shape)
    encoded, _, _ = encode(grid, spec)
    assert encoded.block_columns % group_size == 0
    assert encoded.block_columns < columns
    assert_round_trip(grid)


def test_trellis_runs_and_groups_survive_together() -> None:
    scales = np.random.default_rng(23).uniform(0.5, 2, (130, 30)).astype(np.float32)
    zeros = np.zeros((130, 30), np.int32)
    assert_round_trip(
        random_grid(23, 130, 9600, trellis_rows=64, group_size=320, group_scales=scales, zero_points=zeros)
    )


def test_groups_too_wide_for_any_block_are_refused() -> None:
    ones = np.ones((1, 1), np.float32)
    columns = (1 << 20) + 32
    codes, exponents = np.zeros((1, columns), np.int32), np.zeros(columns, np.int16)
    grid = Grid(
        codes,
        exponents[:1],
        exponents,
        exponents[:1],
        exponents,
        group_size=columns,
        group_scales=ones,
        zero_points=ones.astype(np.int32),
    )
    spec = TensorSpec("w", "F32", grid.shape)
    with pytest.raises(UsageError, match="use smaller groups"):
        make_layout("grid/1").encode(spec, grid, Context(table_sets=tables_for(spec, grid)))


def decode_at(grid: Grid, first_row: int, first_column: int, n_columns: int) -> None:
    """Decode the grid's only block as if it stood somewhere else."""
    spec = TensorSpec("w", "F32", grid.shape)
    encoded, (block,), context = encode(grid, spec)
    decoder = make_layout("grid/1").decoder(
        spec, encoded.meta, memoryview(encoded.head), encoded.head_crc, context
    )
    out = np.empty((grid.shape[0], n_columns), np.float32)
    decoder.decode(memoryview(block.payload), block.crc, first_row, first_column, out)


def test_blocks_that_cut_groups_or_trellis_runs_are_corrupt() -> None:
    scales = np.ones((6, 4), np.float32)
    grouped = random_grid(24, 6, 32, group_size=8, group_scales=scales, zero_points=scales.astype(np.int32))
    for first_column, n_columns in [(4, 8), (0, 12), (8, 20)]:
        with pytest.raises(CorruptError, match="multiples of group_size=8"):
            decode_at(grouped, 0, first_column, n_columns)
    with pytest.raises(CorruptError, match="trellis_rows=4 rows"):
        decode_at(random_grid(24, 6, 32, trellis_rows=4), 2, 0, 32)


def test_trellis_levels_of_extreme_codes_do_not_wrap() -> None:
    codes = np.array([[2**31 - 1], [-(2**31)], [2**30]], np.int32)
    zeros = np.zeros(3, np.int16)
    grid = Grid(codes, zeros, zeros[:1], zeros, zeros[:1], trellis_rows=4)
    # states 0 -1-> 2 -0-> 1; in float32 2**32 - 2 and 2**31 - 1 round up
    assert grid.to_dense()[:, 0].tolist() == [2.0**32, -(2.0**32), 2.0**31]
    assert_round_trip(grid)


def test_products_beyond_float32_are_infinite() -> None:
    scales = np.full((2, 1), 3e38, np.float32)
    zeros = np.zeros((2, 1), np.int32)
    codes = np.array([[0, 9], [-9, 1]], np.int32)
    exponents = np.zeros(2, np.int16)
    grid = Grid(codes, exponents, exponents, exponents, exponents, 0, False, None, 2, scales, zeros)
    assert grid.to_dense().tolist() == [[0, np.inf], [-np.inf, np.float32(3e38)]]
    assert_round_trip(grid)
    assert_round_trip(grid, "F16")


def test_scales_and_codebooks_are_finite() -> None:
    scales = np.full((4, 2), np.inf, np.float16)
    with pytest.raises(NonFiniteError, match="group_scales"):
        random_grid(25, 4, 4, group_size=2, group_scales=scales, zero_points=np.zeros((4, 2), np.int32))
    with pytest.raises(NonFiniteError, match="codebook"):
        random_grid(25, 4, 4, codebook=np.array([np.nan], np.float32))
    with pytest.raises(UsageError, match="exclude each other"):
        random_grid(25, 4, 4, codebook=np.ones(99, np.float32), trellis_rows=2)


def test_code_outside_the_codebook_is_corrupt() -> None:
    codes = np.full((4, 4), 3, np.int32)
    grid = random_grid(26, 4, 4, codes=codes, codebook=np.arange(4, dtype=np.float32))
    spec = TensorSpec("w", "F32", (4, 4))
    _, (block,), context = encode(grid, spec)
    short = random_grid(26, 4, 4, codes=np.zeros_like(codes), codebook=np.arange(3, dtype=np.float32))
    other = make_layout("grid/1").encode(spec, short, context)
    decoder = make_layout("grid/1").decoder(spec, other.meta, memoryview(other.head), other.head_crc, context)
    with pytest.raises(CorruptError, match="outside the codebook of 3 entries"):
        decoder.decode(memoryview(block.payload), block.crc, 0, 0, np.empty((4, 4), np.float32))


@settings(max_examples=25)
@given(st.integers(0, 2**31), st.integers(1, 40), st.integers(1, 6), st.sampled_from([1, 3, 8, 32]))
def test_any_group_grid_survives(seed: int, rows: int, groups: int, group_size: int) -> None:
    rng = np.random.default_rng(seed)
    scales = rng.uniform(0.1, 9, (rows, groups)).astype(np.float16)
    zeros = rng.integers(-(2**20), 2**20, (rows, groups)).astype(np.int32)
    assert_round_trip(
        random_grid(
            seed, rows, groups * group_size, group_size=group_size, group_scales=scales, zero_points=zeros
        )
    )


@settings(max_examples=25)
@given(st.integers(0, 2**31), st.integers(1, 70), st.integers(1, 70), st.integers(1, 80), st.booleans())
def test_any_trellis_grid_survives(
    seed: int, rows: int, columns: int, trellis_rows: int, transposed: bool
) -> None:
    assert_round_trip(random_grid(seed, rows, columns, trellis_rows=trellis_rows, transposed=transposed))


def test_shapes_that_do_not_fit_are_refused() -> None:
    with pytest.raises(ShapeError, match="row_exponents"):
        random_grid(20, 4, 4, row_exponents=np.zeros(3, np.int16))
    with pytest.raises(ShapeError, match="group_size"):
        random_grid(20, 4, 4, group_size=3)
