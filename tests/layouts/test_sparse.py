"""Layout sparse/1: every dtype comes back bit for bit, zeros cost what their mask does, damage is an error."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import ml_dtypes
import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from archives import random_array, write_archive
from reference_reader import read_archive
from tersor.archive.inspect import inspect
from tersor.archive.reader import open_archive
from tersor.archive.verify import verify
from tersor.codec.auto import ORDER
from tersor.errors import CorruptError, NewerFormatError, UsageError
from tersor.layouts import Context, Dense, Sparse, make_layout
from tersor.layouts.base import Encoded, EncodedBlock
from tersor.layouts.file_tables import FileCounts
from tersor.layouts.sparse import smaller_float
from tersor.layouts.sparse_values import kept_shape
from tersor.types import DTYPES, TensorSpec

Array = npt.NDArray[Any]


def with_zeros(spec: TensorSpec, share: float, seed: int = 0) -> Array:
    """Random elements, some of them all bits zero."""
    array = random_array(spec, seed)
    removed = np.random.default_rng(seed + 1).random(array.shape) < share
    return np.where(removed, np.zeros((), array.dtype), array).reshape(spec.numpy_shape)


def context_of(spec: TensorSpec, array: Array, level: str = "balanced") -> Context:
    counts = FileCounts()
    counts.add(spec, Sparse(array))
    return Context(codecs=list(ORDER), table_sets=counts.make(level), level=level)


def encoded(spec: TensorSpec, array: Array, context: Context) -> tuple[Encoded, list[EncodedBlock]]:
    made = make_layout("sparse/1").encode(spec, Sparse(array), context)
    return made, [job() for job in made.blocks]


def decoded(spec: TensorSpec, made: Encoded, blocks: list[EncodedBlock], context: Context) -> Array:
    layout = make_layout("sparse/1")
    decoder = layout.decoder(spec, made.meta, memoryview(b""), 0, context)
    rows, columns = layout.matrix_shape(spec, made.meta)
    out = np.empty((rows, columns), spec.numpy_dtype)
    remaining = iter(blocks)
    for row in range(0, rows if columns else 0, made.block_rows or 1):
        for column in range(0, columns, made.block_columns or 1):
            block = next(remaining)
            part = out[row : row + made.block_rows, column : column + made.block_columns]
            decoder.decode(memoryview(block.payload), block.crc, row, column, part)
    return out.reshape(spec.numpy_shape)


def round_trip(spec: TensorSpec, array: Array, level: str = "balanced") -> int:
    """Check that the tensor comes back bit for bit; return the bytes of its blocks."""
    context = context_of(spec, array, level)
    made, blocks = encoded(spec, array, context)
    assert decoded(spec, made, blocks, context).tobytes() == array.tobytes()
    return sum(len(block.payload) for block in blocks)


@settings(max_examples=60)
@given(
    st.sampled_from(sorted(DTYPES)),
    st.lists(st.integers(0, 9), max_size=3),
    st.sampled_from([0.0, 0.3, 0.9, 1.0]),
    st.integers(0, 50),
)
def test_any_tensor_comes_back(dtype: str, shape: list[int], share: float, seed: int) -> None:
    spec = TensorSpec("t", dtype, tuple(shape))
    round_trip(spec, with_zeros(spec, share, seed))


@pytest.mark.parametrize("level", ["fast", "balanced", "max"])
@pytest.mark.parametrize("dtype", ["BF16", "F16", "F32", "F64", "I8", "I32", "F8_E4M3"])
@pytest.mark.parametrize("share", [0.5, 0.99])
def test_weights_come_back_at_every_level(dtype: str, share: float, level: str) -> None:
    spec = TensorSpec("t", dtype, (96, 256))
    round_trip(spec, with_zeros(spec, share), level)


def test_negative_zero_and_nan_are_kept() -> None:
    spec = TensorSpec("t", "F32", (2, 4))
    array = np.array([[0.0, -0.0, np.nan, 1.0], [0.0, 0.0, -np.inf, 1e-45]], np.float32)
    array.view(np.uint32)[0, 2] = 0xFFC12345
    round_trip(spec, array)


def test_rows_that_keep_equally_many_are_coded_as_rows() -> None:
    mask = np.zeros((3, 8), np.bool_)
    mask[:, ::2] = True
    assert kept_shape(mask) == (3, 4)
    mask[0, 1] = True
    assert kept_shape(mask) == (1, 13)


def pattern_of_two_in_four(rows: int, columns: int) -> npt.NDArray[np.bool_]:
    order = np.random.default_rng(3).random((rows, columns // 4, 4)).argsort(axis=2)
    return (order < 2).reshape(rows, columns)


@pytest.mark.parametrize("is_transposed", [False, True])
def test_two_of_four_costs_log2_of_six_a_run(is_transposed: bool) -> None:
    mask = pattern_of_two_in_four(256, 1024)
    array = mask.astype(np.int8)
    if is_transposed:
        array = np.ascontiguousarray(array.T)
    n_bits = 8 * round_trip(TensorSpec("t", "I8", array.shape), array)
    assert n_bits / array.size < 1.01 * np.log2(6) / 4


@pytest.mark.parametrize("share", [0.1, 0.5, 0.9, 0.999])
def test_mask_costs_at_most_its_entropy_and_a_little(share: float) -> None:
    array = (np.random.default_rng(0).random((512, 1024)) >= share).astype(np.int8)
    n_bits = 8 * round_trip(TensorSpec("t", "I8", array.shape), array)
    entropy = -(share * np.log2(share) + (1 - share) * np.log2(1 - share))
    assert n_bits / array.size < 1.02 * entropy + 0.003


def test_few_elements_are_stored_as_gaps() -> None:
    array = np.zeros((512, 1024), np.float32)
    array.reshape(-1)[[5, 140, 20000, 500000]] = [1.0, 2.0, 3.0, 4.0]
    spec = TensorSpec("t", "F32", array.shape)
    context = context_of(spec, array)
    assert encoded(spec, array, context)[1][0].payload[0] == 2
    assert round_trip(spec, array) < 60


def test_sparse_weights_take_what_is_kept_and_a_bit_each() -> None:
    spec = TensorSpec("t", "BF16", (384, 1024))
    dense = with_zeros(spec, 0.0)
    counts = FileCounts()
    counts.add(spec, Dense(dense))
    context = Context(table_sets=counts.make("balanced"))
    whole = sum(
        len(job().payload) for job in make_layout("dense/1").encode(spec, Dense(dense), context).blocks
    )
    half = round_trip(spec, with_zeros(spec, 0.5))
    assert half < 0.5 * whole * 1.02 + dense.size / 8


@pytest.mark.parametrize(
    ("dtype", "share", "form"),
    [
        ("BF16", 0.5, Sparse),
        ("F32", 0.05, Sparse),
        ("F16", 0.95, Sparse),
        ("BF16", 0.0, Dense),
        ("F32", 1.0, Dense),
        ("I8", 0.6, Dense),
        ("U8", 0.9, Dense),
        ("F4", 0.9, Dense),
    ],
)
def test_smaller_form_is_chosen(dtype: str, share: float, form: type) -> None:
    spec = TensorSpec("t", dtype, (256, 512))
    array = with_zeros(spec, share)
    chosen = smaller_float(array, spec)
    assert type(chosen) is form
    assert chosen.array is array


def test_integers_whose_zeros_have_a_pattern_are_sparse() -> None:
    spec = TensorSpec("t", "I8", (256, 512))
    array = np.where(pattern_of_two_in_four(256, 512), random_array(spec), 0).astype(np.int8)
    assert isinstance(smaller_float(array, spec), Sparse)


@pytest.mark.parametrize("shape", [(), (0, 5), (3, 0), (4, 4)])
def test_small_tensors_stay_dense(shape: tuple[int, ...]) -> None:
    array = np.zeros(shape, np.float32)
    assert isinstance(smaller_float(array, TensorSpec("t", "F32", shape)), Dense)


def test_large_tensors_are_judged_by_a_sample() -> None:
    array = np.zeros((3, 1 << 19), ml_dtypes.bfloat16)
    array[:, ::2] = random_array(TensorSpec("t", "BF16", (3, 1 << 18)))
    assert isinstance(smaller_float(array, TensorSpec("t", "BF16", array.shape)), Sparse)


def test_value_of_another_kind_or_shape_is_refused() -> None:
    spec, layout = TensorSpec("t", "F32", (2, 2)), make_layout("sparse/1")
    with pytest.raises(UsageError, match="sparse/1 encodes Sparse, got Dense"):
        layout.encode(spec, Dense(np.zeros((2, 2), np.float32)), Context())
    with pytest.raises(UsageError, match="needs float32"):
        layout.encode(spec, Sparse(np.zeros((2, 2), np.float64)), Context())


def test_parameters_and_heads_are_refused() -> None:
    spec, layout = TensorSpec("t", "F32", (2, 2)), make_layout("sparse/1")
    with pytest.raises(NewerFormatError, match="has no parameters"):
        layout.decoder(spec, [1], memoryview(b""), 0, Context())
    with pytest.raises(CorruptError, match="has no head, found 3 bytes"):
        layout.decoder(spec, None, memoryview(b"abc"), 0, Context())


def every_mask() -> dict[TensorSpec, Array]:
    """Tensors whose masks take every kind, and values of every shape."""
    shapes = {"BF16": (40, 96), "F32": (7, 33), "F64": (9, 12), "I8": (64, 256), "BOOL": (30, 5), "F4": (40,)}
    tensors = {
        TensorSpec(dtype, dtype, shape): with_zeros(TensorSpec(dtype, dtype, shape), 0.5)
        for dtype, shape in shapes.items()
    }
    by_column = np.ascontiguousarray(pattern_of_two_in_four(64, 256).T.astype(np.float32))
    tensors[TensorSpec("by column", "F32", by_column.shape)] = by_column
    few = np.zeros((3, 50000), np.float32)
    few.reshape(-1)[[0, 200, 40000, 149999]] = 1.5
    tensors[TensorSpec("gaps", "F32", few.shape)] = few
    tensors[TensorSpec("nothing", "F32", (20, 20))] = np.zeros((20, 20), np.float32)
    tensors[TensorSpec("empty", "F32", (0, 4))] = np.zeros((0, 4), np.float32)
    return tensors


def test_reference_reader_reads_every_kind_of_mask(tmp_path: Path) -> None:
    tensors = every_mask()
    path = tmp_path / "model.tersor.safetensors"
    write_archive(path, {spec: Sparse(array) for spec, array in tensors.items()})
    found = read_archive(path)
    assert not found.unreadable
    for spec, array in tensors.items():
        assert found.tensors[spec.name].tobytes() == array.tobytes(), spec
    with open_archive(path) as archive:
        kinds = {archive.tensor(spec.name).payload(0)[0] for spec in tensors if spec.n_elements}
    assert kinds == {0, 1, 2}


RAW = ORDER.index("raw")
FULL, HALF, EMPTY = b"\xff", b"\x0f", b"\x00"
PAYLOADS = {
    "unknown kind": (b"\x03", NewerFormatError, "mask of kind 3"),
    "nothing": (b"", CorruptError, "needs 1"),
    "mask cut short": (bytes((0, RAW, 2)) + FULL, CorruptError, "bytes left, needs 2"),
    "bits behind the end": (bytes((0, RAW, 1)) + FULL, CorruptError, "behind the last element"),
    "values missing": (bytes((0, RAW, 1)) + HALF, CorruptError, "needs 1"),
    "values too few": (bytes((0, RAW, 1)) + HALF + bytes((0, RAW)) + b"abc", CorruptError, "t"),
    "values too many": (bytes((0, RAW, 1)) + HALF + bytes((0, RAW)) + b"abcde", CorruptError, "t"),
    "values of an empty mask": (bytes((0, RAW, 1)) + EMPTY + b"x", CorruptError, "for an empty mask"),
    "too many gaps": (bytes((2, 200, 1, RAW, 3)) + b"abc", CorruptError, "200 bytes of gaps between 6"),
    "gap beyond the end": (bytes((2, 2, RAW, 2, 5, 0)), CorruptError, "reach element 6 of 6"),
    "gap without an end": (bytes((2, 2, RAW, 2, 0, 129)), CorruptError, "the last gap has no end"),
    "gap of four bytes": (bytes((2, 4, RAW, 4, 129, 129, 129, 1)), CorruptError, "a gap of 4 bytes"),
    "gap written too long": (bytes((2, 2, RAW, 2, 129, 0)), CorruptError, "varint is too long"),
    "no such codec": (bytes((0, 99, 1)) + HALF, CorruptError, "codec 99"),
}


@pytest.mark.parametrize("case", PAYLOADS)
def test_hostile_payloads_are_refused(case: str) -> None:
    payload, error, message = PAYLOADS[case]
    spec, context = TensorSpec("t", "I8", (2, 3)), Context(codecs=list(ORDER))
    decoder = make_layout("sparse/1").decoder(spec, None, memoryview(b""), 0, context)
    with pytest.raises(error, match=message):
        decoder.decode(memoryview(payload), 0, 0, 0, np.empty((2, 3), np.int8))


def test_no_flipped_bit_changes_values_unnoticed() -> None:
    spec = TensorSpec("t", "BF16", (5, 12))
    array = with_zeros(spec, 0.6)
    context = context_of(spec, array)
    made, (block,) = encoded(spec, array, context)
    n_noticed = 0
    for place in range(8 * len(block.payload)):
        data = bytearray(block.payload)
        data[place // 8] ^= 1 << place % 8
        try:
            same = decoded(spec, made, [EncodedBlock(bytes(data), block.crc)], context)
            assert same.tobytes() == array.tobytes()
        except (CorruptError, NewerFormatError):
            n_noticed += 1
    assert n_noticed > 400


def test_archive_reads_rows_and_columns_and_verifies(tmp_path: Path) -> None:
    specs = [
        TensorSpec("wide", "BF16", (700, 1100)),
        TensorSpec("vector", "F32", (5000,)),
        TensorSpec("s", "F16", ()),
    ]
    arrays = [with_zeros(spec, 0.7, seed) for seed, spec in enumerate(specs)]
    path = tmp_path / "model.tersor.safetensors"
    write_archive(path, {spec: Sparse(array) for spec, array in zip(specs, arrays, strict=True)})
    with open_archive(path) as archive:
        for spec, array in zip(specs, arrays, strict=True):
            assert archive[spec.name].tobytes() == array.tobytes()
        part = archive.read("wide", rows=slice(300, 420), columns=slice(7, 1001))
        assert np.array_equal(part, arrays[0][300:420, 7:1001])
    assert verify(path)["ok"]
    rows = {row["name"]: row for row in inspect(path)["tensors"]}
    assert rows["wide"]["layout"] == "sparse/1"
    assert rows["wide"]["codec"] == "bits"
