"""Targets of blocks: every form of dense blocks, deltas, grids, and the heads of tensors."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from typing import Any

import ml_dtypes
import numpy as np
import numpy.typing as npt

from archives import random_array, random_grid
from fuzz.target import Target
from tersor.codec.auto import ORDER
from tersor.errors import CorruptError
from tersor.layouts import Context, Delta, Dense, Grid, Sparse, make_layout
from tersor.layouts.delta_words import DIFFERENCE, XOR
from tersor.layouts.file_tables import FileCounts
from tersor.layouts.float_tables import float_context
from tersor.layouts.forms import DECODERS
from tersor.types import TensorSpec

Array = npt.NDArray[Any]


@dataclass(frozen=True, slots=True)
class Sample:
    """A stored tensor of one block. base: of a delta."""

    layout: str
    spec: TensorSpec
    meta: Any
    head: bytes
    payload: bytes
    crc: int
    context: Context

    def parse(self, head: bytes, payload: bytes) -> None:
        """Decode head and block; the checksum of a changed block is wrong, which is found out last."""
        layout = make_layout(self.layout)
        decoder = layout.decoder(self.spec, self.meta, memoryview(head), self._head_crc(head), self.context)
        out = np.empty(layout.matrix_shape(self.spec, self.meta), self.spec.numpy_dtype)
        decoder.decode(memoryview(payload), self.crc, 0, 0, out)

    def _head_crc(self, head: bytes) -> int:
        """The checksum that the head wants, learnt from its refusal: else nothing behind a changed head is reached."""
        try:
            make_layout(self.layout).decoder(self.spec, self.meta, memoryview(head), 0, self.context)
        except CorruptError as exc:
            words = str(exc).partition("CRC-32C is ")[2].split(",")
            return int(words[0], 16) if words[0] else 0
        return 0


def stored(layout: str, spec: TensorSpec, value: Any, context: Context) -> Sample:
    encoded = make_layout(layout).encode(spec, value, context)
    (block,) = [job() for job in encoded.blocks]
    reader = Context(context.codecs, context.table_sets, base=context.base)
    return Sample(layout, spec, encoded.meta, encoded.head, block.payload, block.crc, reader)


def dense(dtype: str, array: Array, level: str = "balanced") -> Sample:
    spec = TensorSpec("w", dtype, array.shape)
    return stored("dense/1", spec, Dense(array), float_context(lambda: [(spec, array)], level, "auto"))


def records(n: int) -> Array:
    """Records of two scales and 16 bytes of nibbles each, as GGUF has them."""
    rng = np.random.default_rng(1)
    scales = (0.01 * np.exp2(rng.uniform(-2, 2, (n, 2)))).astype("<f2").view(np.uint8)
    halves = np.clip(rng.normal(8, 3, (n, 32)), 0, 15).astype(np.uint8)
    return np.concatenate((scales, halves[:, :16] | halves[:, 16:] << 4), axis=1)


def small_codes(dtype: Any, rows: int = 128, columns: int = 150) -> Array:
    rng = np.random.default_rng(2)
    scale = np.exp2(np.linspace(0, 5, rows))[:, None]
    return np.clip(np.rint(rng.standard_normal((rows, columns)) * scale), -127, 127).astype(dtype)


def half_exact(rows: int = 24, columns: int = 64) -> Array:
    array = random_array(TensorSpec("w", "F32", (rows, columns)))
    array[::2] = array[::2].astype(np.float16)
    return array


@cache
def dense_samples() -> list[Sample]:
    """At least one block of each form."""
    rng = np.random.default_rng(0)
    weights = random_array(TensorSpec("w", "F32", (24, 64)))
    return [
        dense("U8", rng.integers(0, 256, (3, 50), np.uint8)),
        dense("F64", np.asarray(weights[:4], np.float64)),
        *(dense("BF16", weights.astype(ml_dtypes.bfloat16), level) for level in ("fast", "balanced", "max")),
        *(dense("F16", weights.astype(np.float16), level) for level in ("fast", "max")),
        *(dense("F32", half_exact(), level) for level in ("fast", "max")),
        dense("U8", records(400)),
        dense("I8", small_codes(np.int8)),
        dense("F8_E4M3", small_codes(np.float32).astype(ml_dtypes.float8_e4m3fn)),
        dense("I64", np.cumsum(rng.integers(0, 99, (1, 900)), axis=1)),
        dense("U16", (70 * np.arange(800) + rng.integers(0, 9, 800)).astype(np.uint16)[None]),
    ]


def delta(dtype: str, kind: int, rows: int = 12, columns: int = 40) -> Sample:
    spec = TensorSpec("t", dtype, (rows, columns))
    base = random_array(spec)
    moved = base.copy()
    moved.view(np.uint8).reshape(-1)[::7] ^= 1
    context = Context(codecs=list(ORDER))
    context.base = lambda row, column, shape: base[row : row + shape[0], column : column + shape[1]]
    return stored("delta/1", spec, Delta(moved, base, kind, None, b"d" * 16), context)


@cache
def delta_samples() -> list[Sample]:
    """Differences and XOR of elements of every width."""
    dtypes = ("U8", "F8_E4M3", "BF16", "F32", "I32", "F64")
    return [delta(dtype, kind) for dtype in dtypes for kind in (DIFFERENCE, XOR)]


def sparse(dtype: str, share: float, rows: int = 24, columns: int = 64) -> Sample:
    """A tensor of which a share is zero."""
    spec = TensorSpec("w", dtype, (rows, columns))
    array = random_array(spec)
    array[np.random.default_rng(4).random(array.shape) < share] = 0
    counts = FileCounts()
    counts.add(spec, Sparse(array))
    return stored("sparse/1", spec, Sparse(array), Context(table_sets=counts.make("balanced")))


def half_of_each_row(rows: int = 24, columns: int = 64) -> Sample:
    """A pattern by column, so that bits go by column and values by row."""
    array = random_array(TensorSpec("w", "BF16", (rows, columns)))
    array[:, ::2] = 0
    spec, counts = TensorSpec("w", "BF16", array.shape), FileCounts()
    counts.add(spec, Sparse(array))
    return stored("sparse/1", spec, Sparse(array), Context(table_sets=counts.make("balanced")))


@cache
def sparse_samples() -> list[Sample]:
    """Bits by row and by column, gaps, an empty mask, and values of several types."""
    return [
        sparse("BF16", 0.5),
        sparse("F32", 0.9),
        sparse("F64", 0.99),
        sparse("I8", 0.995, 64, 256),
        sparse("I16", 1.0),
        half_of_each_row(),
    ]


def gridded(dtype: str, grid: Grid) -> Sample:
    spec = TensorSpec("w", dtype, grid.shape[::-1] if grid.transposed else grid.shape)
    counts = FileCounts()
    counts.add(spec, grid)
    return stored("grid/1", spec, grid, Context(table_sets=counts.make("balanced")))


def trellis_grid(rows: int = 40, columns: int = 64) -> Grid:
    plain = random_grid(rows, columns)
    vectors = (plain.row_exponents, plain.column_exponents, plain.row_classes, plain.column_classes)
    return Grid(plain.codes, *vectors, trellis_rows=16)


def codebook_grid(rows: int = 12, columns: int = 8) -> Grid:
    plain = random_grid(rows, columns, seed=3)
    vectors = (plain.row_exponents, plain.column_exponents, plain.row_classes, plain.column_classes)
    return Grid(np.abs(plain.codes), *vectors, codebook=np.linspace(-1, 1, 16).astype(np.float32))


@cache
def grid_samples() -> list[Sample]:
    """Plain, grouped, transposed, trellis and codebook grids."""
    return [
        gridded("F32", random_grid(12, 8)),
        gridded("F16", random_grid(8, 64, seed=1, group_size=32)),
        gridded("BF16", random_grid(6, 8, seed=2, transposed=True)),
        gridded("BF16", trellis_grid()),
        gridded("F64", codebook_grid()),
    ]


def _target(name: str, samples: Callable[[], list[Sample]]) -> Target:
    """Input: u8 number of the sample, u16 length of the head, head, payload."""

    def parse(data: bytes) -> None:
        chosen = samples()[data[0] % len(samples()) if data else 0]
        n_head = int.from_bytes(data[1:3], "little")
        chosen.parse(data[3 : 3 + n_head], data[3 + n_head :])

    def seeds() -> list[bytes]:
        return [
            bytes((number,)) + len(sample.head).to_bytes(2, "little") + sample.head + sample.payload
            for number, sample in enumerate(samples())
        ]

    return Target(name, parse, seeds)


def forms_of_seeds() -> set[int]:
    """The forms of dense blocks that the seeds begin with."""
    return {sample.payload[0] for sample in dense_samples()} & set(DECODERS)


TARGETS = (
    _target("blocks_dense", dense_samples),
    _target("blocks_delta", delta_samples),
    _target("blocks_grid", grid_samples),
    _target("blocks_sparse", sparse_samples),
)
