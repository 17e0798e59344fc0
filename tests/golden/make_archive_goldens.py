"""Write the missing golden archives, tests/golden/archives/NAME; never touches one that exists.

Use: PYTHONPATH=tests python -m golden.make_archive_goldens

A golden is a promise: archives of this format version stay readable. Beside each lies NAME.json: what a reader must
find in it, as SHA-256 of what went in (grids: of values by the document's formula), so no reader of ours made it.
"""

from __future__ import annotations

import json
import tempfile
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from hashlib import sha256
from importlib.metadata import version
from itertools import cycle
from pathlib import Path
from typing import Any
from unittest.mock import patch

import numpy as np
import zstandard

import handmade_archives as handmade
from golden.archive_inputs import (
    BFLOAT16,
    any_array,
    bell,
    grid,
    grid_tensor,
    low_rank_tensor,
    narrow_weights,
    noise,
    packed_halves,
    records,
    safetensors,
    skewed_columns,
    small_codes,
    small_integers,
    weights,
    with_odd_floats,
)
from reference_reader.dtypes import float32_to_bf16
from tersor.archive.base_model import identity, open_base_model
from tersor.archive.folder import add_side_file
from tersor.archive.index import ArchiveRecord, BaseRecord, FolderRecord
from tersor.archive.writer import ArchiveWriter
from tersor.codec import CODECS
from tersor.layouts import Alias, Context, Delta, Dense, Grid, LowRank, Sparse, float_blocks
from tersor.layouts.delta_words import DIFFERENCE, EQUAL, KIND_NAMES, XOR
from tersor.layouts.file_tables import FileCounts
from tersor.layouts.float_tables import float_context
from tersor.packing import pack
from tersor.types import DTYPES, TensorSpec

FOLDER = Path(__file__).parent / "archives"
ENDING = ".tersor.safetensors"
PRODUCER = "tersor golden"  # instead of tersor's own version, which would change every golden
Value = Dense | Grid | Alias | Delta | LowRank | Sparse


@dataclass
class Expected:
    """What a reader must find in one golden.

    tensors: archive file -> tensor -> (dtype, shape, bytes). unreadable: archive file -> tensors that use something
    that version 1 does not define. files: originals by path.
    """

    tensors: dict[str, dict[str, tuple[str, tuple[int, ...], bytes]]] = field(default_factory=dict)
    unreadable: dict[str, list[str]] = field(default_factory=dict)
    files: dict[str, bytes] = field(default_factory=dict)
    empty_folders: list[str] = field(default_factory=list)
    is_file: bool = False
    lossless: bool = True

    def add(self, file: str, spec: TensorSpec, array: np.ndarray) -> None:
        self.tensors.setdefault(file, {})[spec.name] = (spec.dtype, spec.shape, array.tobytes())

    def to_json(self, what: str) -> dict[str, Any]:
        tensors = {
            file: {
                name: {"dtype": dtype, "shape": list(shape), **_digest(data)}
                for name, (dtype, shape, data) in members.items()
            }
            for file, members in self.tensors.items()
        }
        return {
            "what": what,
            "written_by": {"tersor": version("tersor"), "zstd": ".".join(map(str, zstandard.ZSTD_VERSION))},
            "is_file": self.is_file,
            "lossless": self.lossless,
            "empty_folders": self.empty_folders,
            "files": {path: _digest(data) for path, data in self.files.items()},
            "tensors": tensors,
            "unreadable": self.unreadable,
        }


def _digest(data: bytes) -> dict[str, Any]:
    return {"n_bytes": len(data), "sha256": sha256(data).hexdigest()}


@contextmanager
def geometry(
    *, block: int, stream: int, lanes: tuple[int, ...], row_length: int | None = None
) -> Iterator[None]:
    """Blocks of about `block` elements, streams of `stream`, lanes in turn: so that small files have all of them.

    A reader takes whatever a file says; tersor's writer would need a million elements for a second block.
    """
    turns = cycle(lanes)
    changes: dict[str, Any] = {
        "dense.DENSE_BLOCK_ELEMENTS": block,
        "delta.DENSE_BLOCK_ELEMENTS": block,
        "float_tables.DENSE_BLOCK_ELEMENTS": block,
        "sparse_values.DENSE_BLOCK_ELEMENTS": block,
        "float_blocks.DENSE_BLOCK_ELEMENTS": block,
        "float_blocks._jobs_of": float_blocks._jobs_of.__wrapped__,  # not what was cached of another geometry
        "grid_layout.GRID_BLOCK_ELEMENTS": block,
        "geometry.STREAM_ELEMENTS": stream,
        "forms.words._HASTE": {"balanced": 1, "fast": 1, "max": 1},  # the streams that `stream` asks for
        "forms.words.choose_lanes": lambda n_elements, n_streams: next(turns),
        "float_blocks.choose_lanes": lambda n_elements, n_streams: next(turns),
        "dense_encode.choose_lanes": lambda n_elements, n_streams: next(turns),
        "forms.codes.choose_lanes": lambda n_elements, n_streams: next(turns),
        "grid_layout.choose_lanes": lambda n_elements, n_streams: next(turns),
    }
    if row_length is not None:
        changes["forms.words.row_length_of"] = changes["float_blocks.row_length_of"] = lambda rows, columns: (
            row_length
        )
    with ExitStack() as stack:
        for name, value in changes.items():
            stack.enter_context(patch(f"tersor.layouts.{name}", value))
        yield


def context_of(tensors: dict[TensorSpec, Value], level: str) -> Context:
    counts = FileCounts()
    for spec, value in tensors.items():
        counts.add(spec, value)
    return Context(table_sets=counts.make(level), level=level)


def write_file(
    path: Path,
    tensors: dict[TensorSpec, Value],
    expected: Expected,
    *,
    level: str = "balanced",
    folder: FolderRecord | None = None,
    producer: str = PRODUCER,
    provenance: dict[str, Any] | None = None,
    context: Context | None = None,
    base: BaseRecord | None = None,
) -> int:
    """Write one archive file and note what it holds. context: None makes the tables that the tensors need."""
    arrays: dict[str, np.ndarray] = {}
    with ArchiveWriter(path, context or context_of(tensors, level), producer=producer) as writer:
        for spec, value in tensors.items():
            writer.add(spec, value)
            arrays[spec.name] = _array(spec, value, arrays)
            expected.add(path.name, spec, arrays[spec.name])
        return writer.finish([], provenance, folder, base)


def _array(spec: TensorSpec, value: Value, earlier: dict[str, np.ndarray]) -> np.ndarray:
    if isinstance(value, Alias):
        return earlier[value.target]
    if isinstance(value, LowRank):
        return low_rank_tensor(spec, value)
    return grid_tensor(spec, value) if isinstance(value, Grid) else value.array


def write_alone(root: Path, tensors: dict[TensorSpec, Value], **options: Any) -> Expected:
    """An archive folder of one file that restores no files: the primary, and that is lossy."""
    root.mkdir()
    expected = Expected(lossless=False)
    folder = FolderRecord(False, [], [], [], False)
    write_file(root / f"model{ENDING}", tensors, expected, folder=folder, **options)
    return expected


def worked_example(root: Path) -> Expected:
    spec = TensorSpec("w", "F32", (2, 3))
    values = np.array([[0.1, 0.2, 0.3], [-0.4, 0.5, 0.6]], np.float32)
    tensors: dict[TensorSpec, Value] = {spec: Dense(values), TensorSpec("tied", "F32", (2, 3)): Alias("w")}
    return write_alone(root, tensors, producer="tersor 0.1.0", context=Context())


# Not tersor.types.DTYPES: a dtype to come needs a golden of its own, as this one stays what it is.
DTYPES_OF_VERSION_1 = (
    "BOOL", "U8", "I8", "F4", "F6_E2M3", "F6_E3M2", "F8_E5M2", "F8_E4M3", "F8_E8M0", "F8_E4M3FNUZ", "F8_E5M2FNUZ",
    "I16", "U16", "F16", "BF16", "I32", "U32", "F32", "C64", "F64", "I64", "U64",
)  # fmt: skip


def dtypes(root: Path) -> Expected:
    specs = [TensorSpec(f"dtype.{name}", name, (4, 6)) for name in DTYPES_OF_VERSION_1]
    specs += [TensorSpec(f"scalar.{name}", name, ()) for name in ("BOOL", "F32", "BF16", "I64", "F4")]
    specs += [
        TensorSpec("empty.first", "F32", (0, 3)),
        TensorSpec("empty.last", "BF16", (3, 0)),
        TensorSpec("empty.only", "U8", (0,)),
        TensorSpec("packed.18.bits", "F6_E2M3", (3,)),
        TensorSpec("packed.4.bits", "F4", (1, 1)),
        TensorSpec("rank.4", "I16", (2, 1, 3, 5)),
        TensorSpec("rank.7", "F64", (1, 2, 1, 1, 3, 1, 2)),
        TensorSpec('wie heißt «du»? \N{SNOWMAN} \N{GRINNING FACE}\n\t"quoted" \\ \x7f\x01', "U8", (2,)),
        TensorSpec("", "U8", (2,)),
    ]
    tensors: dict[TensorSpec, Value] = {spec: Dense(any_array(spec)) for spec in specs}
    # Form, codec and one byte: a stream of shape (3,), were that not the tensor's own.
    tensors[TensorSpec("shape.is.stream", "U8", (3,))] = Dense(np.full(3, 7, np.uint8))
    return write_alone(root, tensors)


def codec_alone(codec: str) -> Callable[[Path], Expected]:
    """One byte codec on whole blocks (form 0) and on planes (form 1)."""

    def write(root: Path) -> Expected:
        root.mkdir()
        expected = Expected(lossless=False)
        path = root / f"model{ENDING}"
        same, noisy = TensorSpec("same", "U8", (1000,)), TensorSpec("noise", "U8", (100,))
        arrays = {
            TensorSpec(dtype, dtype, (30, 31)): small_integers(f"{codec} {dtype}", (30, 31), dtype)
            for dtype in ("U8", "I16", "I32", "F64")
        }
        arrays |= {same: np.full(1000, 65, np.uint8), noisy: any_array(noisy)}
        if codec == "constant":  # whole blocks only if all bytes are the same
            arrays = {spec: array for spec, array in arrays.items() if spec.dtype != "U8" or spec is same}
        with ArchiveWriter(path, Context(codec=codec), producer=PRODUCER) as writer:
            for spec, array in arrays.items():
                writer.add(spec, Dense(array))
                expected.add(path.name, spec, array)
            writer.finish([], None, FolderRecord(False, [], [], [], False))
        return expected

    return write


def floats(level: str, row_length: int | None) -> Callable[[Path], Expected]:
    """Float rows of the three units, whole rows and odd ones, plain weights and odd values, blocks and streams."""

    def write(root: Path) -> Expected:
        tensors: dict[TensorSpec, Value] = {}
        for dtype in ("BF16", "F16", "F32"):
            shapes = {"rows": (24, 96), "odd": (37, 41), "wide": (2, 1300), "vector": (77,), "one": (1,)}
            for name, shape in shapes.items():
                tensors[TensorSpec(f"{dtype}.{name}", dtype, shape)] = Dense(
                    weights(f"{level} {dtype} {name}", shape, dtype)
                )
            odd = with_odd_floats(weights(f"{level} {dtype} odd values", (5, 199), dtype))
            tensors[TensorSpec(f"{dtype}.odd.values", dtype, odd.shape)] = Dense(odd)
        with geometry(block=1024, stream=300, lanes=(1, 2, 4, 8, 16, 32), row_length=row_length):
            return write_alone(root, tensors, level=level)

    return write


def floats_max(root: Path) -> Expected:
    """Coder max: the three units, tiles, streams, odd values, skewed columns, and rows of two profiles."""
    arrays: dict[TensorSpec, np.ndarray] = {}
    for dtype in ("BF16", "F16", "F32"):
        shapes = {"rows": (24, 96), "odd": (13, 41), "wide": (2, 1100), "vector": (77,)}
        for name, shape in shapes.items():
            arrays[TensorSpec(f"{dtype}.{name}", dtype, shape)] = weights(f"max {dtype} {name}", shape, dtype)
        odd = with_odd_floats(weights(f"max {dtype} odd values", (5, 99), dtype))
        arrays[TensorSpec(f"{dtype}.odd.values", dtype, odd.shape)] = odd
    skewed = skewed_columns("skewed", (70, 32))
    arrays[TensorSpec("skewed", "BF16", skewed.shape)] = skewed
    embedding = np.concatenate([skewed_columns("unused", (100, 32)), weights("used", (170, 32), "BF16")])
    arrays[TensorSpec("embedding", "BF16", embedding.shape)] = embedding
    with (
        geometry(block=1024, stream=300, lanes=(1, 2, 4, 8, 16, 32)),
        patch("tersor.layouts.float_max.N_STREAMS", 3),
    ):
        context = float_context(arrays.items, "max", "auto")
        return write_alone(root, {spec: Dense(array) for spec, array in arrays.items()}, context=context)


def small_integer_forms(root: Path) -> Expected:
    """Forms 4 to 6: records, codes of all units, and integers by value and by difference."""
    codes = {7: small_codes("codes 7", (20, 640), 7), 60: small_codes("codes 60", (96, 64), 60)}
    eighths = (codes[60] / 16).astype(np.float32)
    arrays = {
        TensorSpec("records", "U8", (300, 20)): records("records", 300),
        TensorSpec("int8", "I8", (96, 64)): codes[60].astype(np.int8),
        TensorSpec("uint8", "U8", (96, 64)): (codes[60] + 128).astype(np.uint8),
        TensorSpec("int4", "U8", (20, 320)): packed_halves(codes[7]),
        TensorSpec("uint4", "U8", (20, 320)): packed_halves(codes[7] + 8),
        TensorSpec("e4m3", "F8_E4M3", (96, 64)): eighths.astype(DTYPES["F8_E4M3"][1]),
        TensorSpec("e5m2", "F8_E5M2", (96, 64)): eighths.astype(DTYPES["F8_E5M2"][1]),
        TensorSpec("signed", "I16", (30, 32)): bell("signed", 30, 32).astype(np.int16),
        TensorSpec("places", "I64", (900,)): np.cumsum(np.abs(bell("places", 900)) + 70_000),
        TensorSpec("falling", "U32", (400,)): (2**31 - np.cumsum(np.abs(bell("falling", 400)))).astype(
            np.uint32
        ),
    }
    with (
        geometry(block=2048, stream=600, lanes=(1, 2, 4, 8, 16, 32)),
        patch("tersor.layouts.forms.codes.MIN_CODES", 512),
        patch("tersor.layouts.forms.codes.ENTRY_BITS", 1.0),  # tables of so few codes would never pay
        patch("tersor.layouts.dense_trials.BYTE_CODECS", ("constant", "raw")),
    ):
        context = float_context(arrays.items, "balanced", "auto")
        return write_alone(root, {spec: Dense(array) for spec, array in arrays.items()}, context=context)


def narrow_rows(level: str) -> Callable[[Path], Expected]:
    """Form 3: rows exact in narrower types, beside others and alone."""

    def write(root: Path) -> Expected:
        arrays = {
            TensorSpec("mixed", "F32", (40, 48)): narrow_weights("mixed", (40, 48)),
            TensorSpec("all", "F32", (30, 33)): narrow_weights("all", (90, 33))[::3].copy(),
            TensorSpec("none", "F32", (10, 33)): weights("none", (10, 33), "F32"),
        }
        with geometry(block=1024, stream=300, lanes=(1, 2, 4)):
            context = float_context(arrays.items, level, "auto")
            return write_alone(root, {spec: Dense(array) for spec, array in arrays.items()}, context=context)

    return write


def grid_plain(root: Path) -> Expected:
    codebook = np.array([-1.75, -0.3, 0.0, 0.1, 1.3, 2.5], np.float32)
    grids = {
        ("plain", "F32", (40, 70)): grid("plain", 40, 70),
        ("bf16", "BF16", (20, 33)): grid("bf16", 20, 33, spread=5),
        ("f16", "F16", (9, 64)): grid("f16", 9, 64),
        ("f64", "F64", (7, 45)): grid("f64", 7, 45),
        ("wide codes", "F32", (24, 50)): grid("wide", 24, 50, spread=400),
        ("column tiles", "F32", (3, 1500)): grid("tiles", 3, 1500),
        ("rank 4", "F32", (3, 4, 2, 12)): grid("rank 4", 24, 12),
        ("vector", "F32", (50,)): grid("vector", 1, 50),
        ("transposed", "F32", (30, 20)): grid("transposed", 20, 30, transposed=True),
        ("transposed rank 3", "BF16", (3, 8, 5)): grid("transposed 3", 15, 8, transposed=True),
        ("codebook", "F32", (20, 40)): grid("codebook", 20, 40, codebook=codebook),
        ("groups f32", "F32", (12, 64)): grid("groups f32", 12, 64, group_size=16),
        ("groups f16", "F16", (12, 60)): grid("groups f16", 12, 60, group_size=5, scale_dtype=np.float16),
        ("groups bf16", "BF16", (12, 96)): grid("groups bf16", 12, 96, group_size=32, scale_dtype=BFLOAT16),
        ("groups in tiles", "F32", (2, 1536)): grid("groups tiles", 2, 1536, group_size=48),
        ("groups and codebook", "F64", (6, 24)): grid("both", 6, 24, group_size=8, codebook=codebook),
        ("empty", "F32", (0, 8)): grid("empty", 0, 8),
    }
    tensors: dict[TensorSpec, Value] = {TensorSpec(*key): value for key, value in grids.items()}
    tensors[TensorSpec("tied", "F32", (40, 70))] = Alias("plain")
    tensors[TensorSpec("norm", "F32", (70,))] = Dense(weights("norm", (70,), "F32"))
    with geometry(block=1024, stream=300, lanes=(1, 2, 4, 8, 16, 32)):
        return write_alone(root, tensors)


def grid_trellis(root: Path) -> Expected:
    grids = {
        ("restart 8", "F32", (40, 70)): grid("restart 8", 40, 70, trellis_rows=8),
        ("restart 5", "BF16", (23, 33)): grid("restart 5", 23, 33, trellis_rows=5),
        ("one run", "F16", (9, 64)): grid("one run", 9, 64, trellis_rows=64),
        ("wide codes", "F32", (24, 50)): grid("wide trellis", 24, 50, spread=300, trellis_rows=4),
        ("transposed", "F32", (30, 20)): grid("t trellis", 20, 30, trellis_rows=8, transposed=True),
        ("column tiles", "F32", (8, 800)): grid("tiles trellis", 8, 800, trellis_rows=4),
        ("groups", "F32", (12, 64)): grid("groups trellis", 12, 64, trellis_rows=4, group_size=16),
    }
    tensors: dict[TensorSpec, Value] = {TensorSpec(*key): value for key, value in grids.items()}
    with geometry(block=1024, stream=300, lanes=(1, 2, 4, 8, 16, 32)):
        return write_alone(root, tensors)


def sparse(root: Path) -> Expected:
    """Every dtype with zeros, masks of every kind, rows that keep equally many, odd values, all zeros, no elements."""
    arrays: dict[tuple[str, str], np.ndarray] = {}
    for dtype in DTYPES_OF_VERSION_1:
        array = any_array(TensorSpec(f"sparse {dtype}", dtype, (6, 8))).copy()
        array.reshape(-1)[noise(f"zeros {dtype}", array.size) < 150] = 0
        arrays[f"any.{dtype}", dtype] = array
    for dtype in ("F32", "BF16", "F16"):
        array = with_odd_floats(weights(f"pruned {dtype}", (20, 96), dtype))
        arrays[f"half.{dtype}", dtype] = np.where(
            noise(dtype, array.size).reshape(array.shape) < 128, array, 0
        )
    two_of_four = (
        np.argsort(noise("2:4", 12288).reshape(96, 32, 4), axis=2, kind="stable").reshape(96, 128) < 2
    )
    signs = np.where(noise("signs", 12288).reshape(96, 128) < 128, np.int8(-1), np.int8(1))
    pruned = np.where(two_of_four, signs, np.int8(0))
    arrays["by row", "I8"], arrays["by column", "I8"] = pruned, np.ascontiguousarray(pruned.T)
    few = np.zeros((2, 40_000), np.int16)
    few.reshape(-1)[[3, 133, 17_000, 79_999]] = [1, -2, 300, 4]
    arrays["gaps", "I16"] = few
    arrays["nothing", "BF16"], arrays["empty", "F32"] = (
        np.zeros((5, 7), BFLOAT16),
        np.zeros((0, 3), np.float32),
    )
    tensors: dict[TensorSpec, Value] = {
        TensorSpec(name, dtype, (6, 8) if name.startswith("any.") else array.shape): Sparse(
            array.astype(DTYPES[dtype][1], copy=False)
        )
        for (name, dtype), array in arrays.items()
    }
    tensors[TensorSpec("tied", "I16", few.shape)] = Alias("gaps")
    with geometry(block=1 << 15, stream=700, lanes=(1, 4)):
        return write_alone(root, tensors)


def low_rank(root: Path) -> Expected:
    """Factors of every type and layout, with pivots and residuals, plain and transposed."""

    def floats(name: str, rows: int, columns: int, dtype: str = "F32") -> Dense:
        return Dense(weights(name, (rows, columns), dtype))

    some = np.array([0, 3, 4, 10, 17], np.int64)
    missed = LowRank(
        floats("lr bf16", 17, 4, "BF16"), floats("rr bf16", 4, 40, "BF16"), floats("missed", 17, 40, "F16")
    )
    values: dict[tuple[str, str, tuple[int, ...]], LowRank] = {
        ("floats", "F32", (30, 40)): LowRank(floats("l", 30, 5), floats("r", 5, 40)),
        ("with residual", "BF16", (17, 40)): missed,
        ("pivots", "F16", (18, 33)): LowRank(floats("l p", 13, 5), floats("r p", 5, 33), pivots=some),
        ("grids", "F32", (22, 64)): LowRank(
            grid("l g", 17, 5, trellis_rows=8), grid("r g", 5, 64), grid("m g", 22, 64), pivots=some
        ),
        ("transposed", "BF16", (33, 18)): LowRank(
            grid("l t", 13, 5), floats("r t", 5, 33), transposed=True, pivots=some
        ),
        ("rank 3", "F32", (2, 7, 9)): LowRank(floats("l 3", 18, 2), grid("r 3", 2, 7), transposed=True),
        ("f64", "F64", (3, 4, 10)): LowRank(floats("l 64", 12, 1, "F16"), floats("r 64", 1, 10)),
        ("all pivots", "F32", (5, 9)): LowRank(
            Dense(np.zeros((0, 5), np.float32)), floats("r a", 5, 9), pivots=np.arange(5, dtype=np.int64)
        ),
    }
    tensors: dict[TensorSpec, Value] = {TensorSpec(*key): value for key, value in values.items()}
    tensors[TensorSpec("tied", "F32", (30, 40))] = Alias("floats")
    tensors[TensorSpec("norm", "F32", (70,))] = Dense(weights("low-rank norm", (70,), "F32"))
    with geometry(block=256, stream=100, lanes=(1, 2, 4)):
        return write_alone(root, tensors)


def deltas(root: Path) -> Expected:
    """Tensors equal to those of a plain base beside the archive, differences and XOR, of every dtype and odd values."""
    pairs: dict[TensorSpec, tuple[np.ndarray, np.ndarray]] = {}
    for dtype in DTYPES_OF_VERSION_1:
        spec = TensorSpec(f"any.{dtype}", dtype, (3, 8))
        pairs[spec] = any_array(spec), any_array(TensorSpec(f"base.{dtype}", dtype, (3, 8)))
    for dtype in ("F32", "BF16", "F16"):
        base = weights(f"delta base {dtype}", (24, 64), dtype)
        moved = (base.astype(np.float32) * 0.999 + weights("update", (24, 64), "F32") / 64).astype(base.dtype)
        moved[7] = base[7]
        pairs[TensorSpec(f"rows.{dtype}", dtype, base.shape)] = moved, base
        odd = with_odd_floats(weights(f"delta odd {dtype}", (5, 99), dtype))
        pairs[TensorSpec(f"odd.{dtype}", dtype, odd.shape)] = odd, odd[::-1].copy()
    names = {spec.name: f"model.{spec.name}" if spec.dtype == "F32" else spec.name for spec in pairs}
    entries = {
        TensorSpec(names[spec.name], spec.dtype, spec.shape): base for spec, (_, base) in pairs.items()
    }
    root.mkdir()
    (root / "base.safetensors").write_bytes(safetensors(entries))
    model = open_base_model(root / "base.safetensors")
    tensors: dict[TensorSpec, Value] = {}
    for spec, (array, base) in pairs.items():
        other, digest = names[spec.name], model.digest(names[spec.name])
        name = None if other == spec.name else other
        for kind, values in ((EQUAL, base), (DIFFERENCE, array), (XOR, array)):
            renamed = TensorSpec(f"{spec.name}.{KIND_NAMES[kind]}", spec.dtype, spec.shape)
            tensors[renamed] = Delta(values, base, kind, name or spec.name, digest)
    spec, (array, base) = next(iter(pairs.items()))
    tensors[spec] = Delta(array, base, DIFFERENCE, None, model.digest(spec.name))
    tensors[TensorSpec("tied", spec.dtype, spec.shape)] = Alias(spec.name)
    expected = Expected(lossless=False)
    record = BaseRecord("base.safetensors", identity(model))
    folder = FolderRecord(False, [], [], [], False)
    with (
        geometry(block=1024, stream=300, lanes=(1,)),
        patch("tersor.layouts.delta_blocks.MIN_GROUP_ELEMENTS", 64),
    ):
        write_file(root / f"model{ENDING}", tensors, expected, folder=folder, base=record)
    model.close()
    return expected


CONFIG = b'{"architectures": ["TinyModel"], "hidden_size": 16}'
TOKENIZER = b'{"version": "1.0", "model": {"type": "BPE"}}\n'


def lossy_folder(root: Path) -> Expected:
    """What `compress` leaves: two shards, their index, a changed config.json, a copied tokenizer."""
    root.mkdir()
    expected = Expected(lossless=False, files={"config.json": CONFIG, "tokenizer.json": TOKENIZER})
    names = [f"model-{number:05d}-of-00002{ENDING}" for number in (1, 2)]
    first: dict[TensorSpec, Value] = {
        TensorSpec("embed", "F32", (32, 16)): grid("embed", 32, 16, trellis_rows=8),
        TensorSpec("head", "F32", (32, 16)): Alias("embed"),
    }
    second: dict[TensorSpec, Value] = {
        TensorSpec("conv", "BF16", (16, 24)): grid("conv", 24, 16, transposed=True, trellis_rows=8),
        TensorSpec("norm", "BF16", (300,)): Dense(weights("lossy norm", (300,), "BF16")),
    }
    with tempfile.TemporaryDirectory() as source:
        sides = []
        for name, data in expected.files.items():
            (Path(source) / name).write_bytes(data)
            side = add_side_file(Path(source) / name, name, root, adapt=name == "config.json")
            assert side is not None
            sides.append(side)
    crc = write_file(root / names[1], second, expected)
    folder = FolderRecord(False, [ArchiveRecord(names[1], crc)], sides, [], False)
    provenance = {"seed": 7, "delta": 0.5, "dry": False, "recipe": {"method": "x", "steps": [1, None, "ü"]}}
    write_file(root / names[0], first, expected, folder=folder, provenance=provenance)
    shards = {spec.name: name for name, part in zip(names, (first, second), strict=True) for spec in part}
    text = json.dumps({"metadata": {}, "weight_map": shards}, indent=2) + "\n"
    (root / f"model{ENDING}.index.json").write_bytes(text.encode())
    return expected


def pack_tree(root: Path, files: dict[str, bytes], empty_folders: list[str], **options: Any) -> None:
    """Pack a folder of these files."""
    with tempfile.TemporaryDirectory() as parent:
        source = Path(parent) / "model"
        source.mkdir()
        for path, data in files.items():
            (source / path).parent.mkdir(parents=True, exist_ok=True)
            (source / path).write_bytes(data)
        for path in empty_folders:
            (source / path).mkdir(parents=True)
        pack(source, root, **options)


def packed_folder(root: Path) -> Expected:
    """Shards with a gap-free and a padded header, side files changed and not, and plain files of all sorts."""
    shards = {
        "model-00001-of-00002.safetensors": {
            TensorSpec("a", "BF16", (40, 64)): weights("packed a", (40, 64), "BF16"),
            TensorSpec("b", "I64", (5,)): small_integers("packed b", (5,), "I64"),
            TensorSpec("none", "F32", (0, 4)): np.zeros((0, 4), np.float32),
        },
        "model-00002-of-00002.safetensors": {
            TensorSpec("c", "F16", (300,)): weights("packed c", (300,), "F16"),
            TensorSpec("d", "F32", (12, 50)): weights("packed d", (12, 50), "F32"),
        },
    }
    weight_map = {spec.name: shard for shard, part in shards.items() for spec in part}
    plain = {
        "log.txt": b"step 1: loss 3.5\n" * 40,
        "runs/log.txt": b"step 2: loss 2.5\n" * 40,
        "runs/empty.dat": b"",
        "runs/tersor.index": b"a reserved name",
        "runs/deep/er/state.bin": weights("state", (1501,), "BF16").tobytes() + b"!",
        "runs/deep/er/floats.dat": weights("floats", (900,), "F32").tobytes() + b"!?",
    }
    files = {shard: safetensors(part, {"format": "pt"}) for shard, part in shards.items()}
    files |= plain
    files |= {
        "config.json": CONFIG,
        "tokenizer.json": TOKENIZER,
        "README.md": b"# tiny\n",
        "model.safetensors.index.json": json.dumps({"weight_map": weight_map}).encode(),
    }
    empty_folders = ["void", "runs/void"]
    with geometry(block=2048, stream=800, lanes=(2, 8)):
        pack_tree(root, files, empty_folders)
    expected = Expected(files=files, empty_folders=sorted(empty_folders))
    for shard, part in shards.items():
        for spec, array in part.items():
            expected.add(shard.removesuffix(".safetensors") + ENDING, spec, array)
    for path, data in plain.items():
        name = path.rpartition("/")[2].replace("tersor.index", "tersor.index_")
        expected.add(path + ENDING, TensorSpec(name, "U8", (len(data),)), np.frombuffer(data, np.uint8))
    return expected


def packed_file(root: Path) -> Expected:
    """One safetensors file; its tied tensor is stored once."""
    tied = np.tile(weights("tied", (16, 64), "BF16"), (32, 1))
    parts = {
        TensorSpec("embed", "BF16", (512, 64)): tied,
        TensorSpec("w", "F32", (20, 30)): weights("packed w", (20, 30), "F32"),
        TensorSpec("head", "BF16", (512, 64)): tied,
    }
    data = safetensors(parts)
    with tempfile.TemporaryDirectory() as parent:
        source = Path(parent) / "tiny.safetensors"
        source.write_bytes(data)
        pack(source, root, level="fast")
    expected = Expected(files={"tiny.safetensors": data}, is_file=True)
    for spec, array in parts.items():
        expected.add(f"tiny{ENDING}", spec, array)
    return expected


def by_hand(root: Path) -> Expected:
    """Written by tests/handmade_archives.py, with parts of the format that tersor's writer has no use for yet."""
    root.mkdir()
    handmade.write_folder(root)
    expected = Expected(empty_folders=["void"], unreadable={f"model{ENDING}": ["future"]})
    primary, codes = f"model{ENDING}", handmade.CODES
    arrays = {
        TensorSpec("dense", "F32", (2, 3, 40)): handmade.DENSE,
        TensorSpec("scalar", "I64", ()): np.array(7, np.int64),
        TensorSpec("empty ∅", "BF16", (0, 5)): np.zeros((0, 5), np.uint16),
        TensorSpec("tied", "F32", (2, 3, 40)): handmade.DENSE,
        TensorSpec("plain", "F32", (7, 65)): handmade.expected_grid(codes),
        TensorSpec("grouped", "F64", (65, 7)): handmade.expected_grid(codes, group_size=13).T.astype(
            np.float64
        ),
        TensorSpec("trellis", "F32", (7, 65)): handmade.expected_grid(codes, restart=3),
        TensorSpec("codebook", "BF16", (7, 65)): float32_to_bf16(
            handmade.expected_grid(np.abs(codes) % 4, codebook=handmade.CODEBOOK)
        ),
    }
    for spec, array in arrays.items():
        expected.add(primary, spec, array)
    for name, (dtype, array) in handmade.float_arrays().items():
        expected.add(primary, TensorSpec(name, dtype, array.shape), array)
    expected.add(
        f"sub/notes{ENDING}", TensorSpec("notes", "U8", (10,)), np.frombuffer(b"some notes", np.uint8)
    )
    expected.files = {
        "model.safetensors": b"header" + handmade.DENSE.tobytes() + b"!",
        "sub/notes": b"some notes",
        "config.json": b"{}",
        "vocab.txt": b"words",
    }
    return expected


@dataclass(frozen=True)
class Golden:
    """what: in one line. write: makes the archive at a path and returns what is in it."""

    what: str
    write: Callable[[Path], Expected]


GOLDENS = {
    "worked-example": Golden("the archive of docs/format.md, section 7", worked_example),
    "dtypes": Golden("every dtype, scalars, no elements, high ranks, odd names", dtypes),
    **{
        f"codec-{name}": Golden(f"codec {name} on whole blocks and on planes", codec_alone(name))
        for name in CODECS.names()
    },
    "floats-balanced": Golden(
        "float rows, balanced coder, blocks, streams and tiles", floats("balanced", None)
    ),
    "floats-fast": Golden("float rows, fast coder, rows of 77", floats("fast", 77)),
    "floats-max": Golden("float rows, coder max, blocks, streams, tiles and column profiles", floats_max),
    "deltas": Golden(
        "every dtype against a base: equal, difference, XOR; row classes, groups, blocks", deltas
    ),
    "narrow-rows": Golden("F32 rows exact in narrower types, balanced coder", narrow_rows("balanced")),
    "narrow-rows-max": Golden("F32 rows exact in narrower types, coder max", narrow_rows("max")),
    "small-integers": Golden("fields, codes of all units, differences", small_integer_forms),
    "grid-plain": Golden("plain grids: dtypes, groups, codebooks, transposed, tiles, alias", grid_plain),
    "grid-trellis": Golden("trellis grids", grid_trellis),
    "sparse": Golden("zeros left out: every dtype, masks of every kind, odd values, tied", sparse),
    "low-rank": Golden("factors of every type, pivots, residuals, transposed, tied", low_rank),
    "lossy-folder": Golden(
        "two shards with index, config and tokenizer, as compress writes them", lossy_folder
    ),
    "packed-folder": Golden(
        "a packed folder with shards, side files, plain files and empty folders", packed_folder
    ),
    "packed-file": Golden("one packed file with a tied tensor, fast coder", packed_file),
    "by-hand": Golden("an archive by another writer: small alphabets, raw bits, an unknown layout", by_hand),
}


def write_golden(name: str, root: Path) -> dict[str, Any]:
    """Write golden `name` at `root`, which must not exist; return what its NAME.json holds."""
    golden = GOLDENS[name]
    with (
        patch("tersor.archive.writer.producer_name", lambda: PRODUCER),
        patch("tersor.packing.packer.producer_name", lambda: PRODUCER),
    ):
        return golden.write(root).to_json(golden.what)


def main() -> None:
    FOLDER.mkdir(parents=True, exist_ok=True)
    for name in GOLDENS:
        if (FOLDER / name).exists():
            continue
        description = write_golden(name, FOLDER / name)
        text = json.dumps(description, indent=1, ensure_ascii=False) + "\n"
        (FOLDER / f"{name}.json").write_text(text, encoding="utf-8")
        n_bytes = sum(path.stat().st_size for path in (FOLDER / name).rglob("*") if path.is_file())
        print(f"wrote {name}: {n_bytes} bytes")


if __name__ == "__main__":
    main()
