"""Float blocks coded together are those that are coded alone; what they cannot do is left to the other forms."""

from __future__ import annotations

from typing import Any

import ml_dtypes
import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tersor.layouts import Context, Dense, make_layout
from tersor.layouts.dense_batch import encode_dense
from tersor.layouts.float_blocks import FloatBlocks, Memory
from tersor.layouts.float_tables import FloatTableCounts, float_context
from tersor.types import DTYPES, TensorSpec

Array = npt.NDArray[Any]
Tensors = list[tuple[TensorSpec, Array]]
FLOATS = ("BF16", "F16", "F32")


def weights(rows: int, columns: int, dtype: str, seed: int = 0) -> Array:
    rng = np.random.default_rng(seed)
    scale = 2.0 ** rng.integers(-6, -2, (rows, 1))
    return (rng.standard_normal((rows, columns)) * scale).astype(DTYPES[dtype][1])


def tensors_of(*dtypes: str) -> Tensors:
    """Tensors of several sizes, some without floats, some of one value, one that is several blocks."""
    tensors: Tensors = []
    for number, dtype in enumerate(dtypes):
        arrays = {
            "matrix": weights(600, 1024, dtype, number),
            "vector": weights(1, 700, dtype, number)[0],
            "ones": np.ones(300, DTYPES[dtype][1]),
            "empty": np.empty((0, 5), DTYPES[dtype][1]),
            "scalar": np.array(1.5).astype(DTYPES[dtype][1]),
            "stack": weights(12, 96, dtype, number).reshape(3, 4, 96),
        }
        tensors += [
            (TensorSpec(f"{dtype}.{name}", dtype, array.shape), array) for name, array in arrays.items()
        ]
    numbers = np.arange(2000, dtype=np.int64)
    return [*tensors, (TensorSpec("numbers", "I64", (2000,)), numbers)]


def payloads(tensors: Tensors, context: Context, threads: int = 1) -> list[list[tuple[bytes, int]]]:
    return [
        [(bytes(block.payload), block.crc) for block in (job() for job in encoded.blocks)]
        for encoded in encode_dense(tensors, context, threads)
    ]


def decoded(spec: TensorSpec, array: Array, context: Context) -> Array:
    layout = make_layout("dense/1")
    encoded = encode_dense([(spec, array)], context)[0]
    decoder = layout.decoder(spec, None, memoryview(encoded.head), encoded.head_crc, context)
    rows, columns = layout.matrix_shape(spec, None)
    out = np.empty((rows, columns), array.dtype)
    places = [
        (row, column)
        for row in range(0, rows if columns else 0, encoded.block_rows or 1)
        for column in range(0, columns, encoded.block_columns or 1)
    ]
    for (row, column), job in zip(places, encoded.blocks, strict=True):
        block = job()
        part = out[row : row + encoded.block_rows, column : column + encoded.block_columns]
        decoder.decode(memoryview(block.payload), block.crc, row, column, part)
    return out.reshape(spec.shape)


@pytest.mark.parametrize("level", ["fast", "balanced", "max"])
def test_blocks_coded_together_are_those_coded_alone_for_any_number_of_threads(level: str) -> None:
    tensors = tensors_of(*FLOATS)
    context = float_context(lambda: tensors, level, "auto")
    layout = make_layout("dense/1")
    alone = [
        [(bytes(block.payload), block.crc) for block in (job() for job in encoded.blocks)]
        for encoded in (layout.encode(spec, Dense(array), context) for spec, array in tensors)
    ]
    for threads in (1, 2, 5):
        assert payloads(tensors, context, threads) == alone


@pytest.mark.parametrize("level", ["fast", "balanced", "max"])
def test_tables_do_not_depend_on_threads(level: str) -> None:
    tensors = tensors_of("BF16", "F32")
    tables = [float_context(lambda: tensors, level, "auto", threads).table_sets for threads in (1, 2, 3)]
    assert tables[0] == tables[1] == tables[2]


@pytest.mark.parametrize("level", ["fast", "balanced"])
@settings(deadline=None, max_examples=25)
@given(
    dtype=st.sampled_from(FLOATS),
    rows=st.integers(1, 70),
    columns=st.integers(1, 200),
    seed=st.integers(0, 1000),
    noise=st.booleans(),
)
def test_blocks_round_trip(level: str, dtype: str, rows: int, columns: int, seed: int, noise: bool) -> None:
    array = weights(rows, columns, dtype, seed)
    if noise:
        raw = np.random.default_rng(seed).bytes(array.nbytes)
        array = np.frombuffer(raw, array.dtype).reshape(array.shape)
    spec = TensorSpec("w", dtype, array.shape)
    context = float_context(lambda: [(spec, array)], level, "auto")
    assert decoded(spec, array, context).tobytes() == array.tobytes()


def test_only_floats_whose_blocks_are_runs_of_bytes_are_added() -> None:
    blocks = FloatBlocks("fast")
    array = weights(40, 64, "BF16")
    assert blocks.add(TensorSpec("w", "BF16", (40, 64)), array)
    assert not blocks.add(TensorSpec("n", "I32", (4,)), np.arange(4, dtype=np.int32))
    assert not blocks.add(TensorSpec("e", "BF16", (0, 4)), np.empty((0, 4), ml_dtypes.bfloat16))
    assert not blocks.add(TensorSpec("t", "BF16", (64, 40)), array.T)
    assert not blocks.add(TensorSpec("wide", "F16", (2, 1 << 20)), np.empty((2, 1 << 20), np.float16))
    assert (blocks.n_blocks, blocks.n_bytes) == (1, array.nbytes)


def test_tiles_of_wide_rows_are_counted() -> None:
    array = weights(2, (1 << 19) + 64, "BF16")
    counts = FloatTableCounts("fast")
    counts.add(TensorSpec("wide", "BF16", array.shape), array)
    assert [tables.kind for tables in counts.tables("fast")] == ["float8"]


def test_memory_is_used_again() -> None:
    tensors = [(TensorSpec("w", "BF16", (600, 1024)), weights(600, 1024, "BF16"))]
    context, memory = float_context(lambda: tensors, "fast", "auto"), Memory()
    first = memory.at_least(1)
    for _ in range(2):
        blocks = FloatBlocks("fast")
        assert blocks.add(*tensors[0])
        (coded,) = blocks.encode(context, memory=memory)
        assert all(block is not None for block in coded)
    again = memory.at_least(1)
    assert again.ctypes.data != first.ctypes.data
    assert memory.at_least(1).ctypes.data == again.ctypes.data


def test_no_tensors_give_no_blocks() -> None:
    assert list(FloatBlocks("fast").encode(Context(level="fast"))) == []
    assert encode_dense([], Context()) == []
