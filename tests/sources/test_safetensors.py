"""Safetensors files: every dtype, every truncation, and every byte accounted for."""

from __future__ import annotations

import json
from pathlib import Path

import ml_dtypes
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from safetensors.numpy import load_file, save_file

from tersor.errors import CorruptError, UnknownNameError, UsageError
from tersor.sources.base import Literal, TensorBytes
from tersor.sources.safetensors import SafetensorsFile
from tersor.types import DTYPES, TensorSpec

Table = list[tuple[TensorSpec, bytes]]


def build(table: Table, *, gap: bytes = b"", metadata: dict[str, str] | None = None) -> bytes:
    """A safetensors file with `gap` before each tensor and at the end."""
    entries: dict[str, object] = {} if metadata is None else {"__metadata__": metadata}
    data = b""
    for spec, content in table:
        data += gap
        end = len(data) + len(content)
        entries[spec.name] = {"dtype": spec.dtype, "shape": spec.shape, "data_offsets": [len(data), end]}
        data += content
    text = json.dumps(entries).encode()
    return len(text).to_bytes(8, "little") + text + data + gap


def rebuild(file: SafetensorsFile) -> bytes:
    return b"".join(file.segment_bytes(segment) for segment in file.segments())


def content_of(spec: TensorSpec, seed: int) -> bytes:
    return np.random.default_rng(seed).integers(0, 256, spec.n_bytes, np.uint8).tobytes()


EVERY_DTYPE: Table = [
    (spec, content_of(spec, 1)) for spec in (TensorSpec(dtype, dtype, (3, 2)) for dtype in DTYPES)
]


@pytest.mark.parametrize("dtype", DTYPES)
def test_every_dtype_is_read_with_its_bits(dtype: str, tmp_path: Path) -> None:
    path = tmp_path / "x.safetensors"
    path.write_bytes(build(EVERY_DTYPE))
    with SafetensorsFile(path) as file:
        array = file.read(dtype)
        spec = file.spec(dtype)
        expected = {spec.name: content for spec, content in EVERY_DTYPE}[dtype]
        assert array.dtype == spec.numpy_dtype
        assert array.shape == spec.numpy_shape
        assert array.tobytes() == expected
        assert bytes(file.raw(dtype)) == expected
        assert array.flags.aligned
        assert array.flags.c_contiguous
        assert not array.flags.writeable
        assert file.raw(dtype).readonly


def test_scalars_and_empty_tensors_keep_their_shapes(tmp_path: Path) -> None:
    path = tmp_path / "x.safetensors"
    scalar, empty = TensorSpec("scalar", "F32", ()), TensorSpec("empty", "BF16", (0, 7))
    path.write_bytes(build([(empty, b""), (scalar, np.float32(2.5).tobytes())]))
    file = SafetensorsFile(path)
    assert file.specs == (empty, scalar)
    assert file.read("scalar").shape == ()
    assert file.read("scalar") == np.float32(2.5)
    assert file.read("empty").shape == (0, 7)
    assert file.read("empty").dtype == ml_dtypes.bfloat16
    assert rebuild(file) == path.read_bytes()


def test_file_without_tensors_is_read(tmp_path: Path) -> None:
    path = tmp_path / "x.safetensors"
    path.write_bytes(build([], metadata={"format": "pt"}))
    file = SafetensorsFile(path)
    assert file.specs == ()
    assert file.metadata == {"format": "pt"}
    assert rebuild(file) == path.read_bytes()


def test_official_writers_file_is_read_alike(tmp_path: Path) -> None:
    path = tmp_path / "x.safetensors"
    random = np.random.default_rng(0)
    tensors = {
        "β/weight": random.standard_normal((5, 7)).astype(np.float32),
        "b": random.standard_normal(3).astype(np.float16),
    }
    save_file(tensors, path, {"format": "np"})
    file = SafetensorsFile(path)
    assert file.gaps == ()
    for name, expected in load_file(path).items():
        np.testing.assert_array_equal(file.read(name), expected)
    assert rebuild(file) == path.read_bytes()


@given(
    shapes=st.lists(st.lists(st.integers(0, 4), max_size=3), max_size=4),
    dtypes=st.lists(st.sampled_from(list(DTYPES)), min_size=4, max_size=4),
    gap=st.binary(max_size=3),
)
def test_segments_rebuild_the_file_and_report_gaps(
    tmp_path_factory: pytest.TempPathFactory, shapes: list[list[int]], dtypes: list[str], gap: bytes
) -> None:
    specs = [TensorSpec(f"t{i}", dtypes[i], tuple(shape)) for i, shape in enumerate(shapes)]
    table = [(spec, content_of(spec, 2)) for spec in specs]
    path = tmp_path_factory.mktemp("segments") / "x.safetensors"
    path.write_bytes(build(table, gap=gap))
    file = SafetensorsFile(path)
    assert rebuild(file) == path.read_bytes()
    assert sum(end - begin for begin, end in file.gaps) == len(gap) * (len(table) + 1)
    assert {segment.name for segment in file.segments() if isinstance(segment, TensorBytes)} == {
        spec.name for spec in specs
    }
    for spec, content in table:
        assert file.read(spec.name).tobytes() == content
        assert file.read(spec.name).flags.aligned


def test_header_is_the_first_segment(tmp_path: Path) -> None:
    path = tmp_path / "x.safetensors"
    path.write_bytes(build(EVERY_DTYPE))
    file = SafetensorsFile(path)
    assert file.segments()[0] == Literal(0, len(file.header))
    assert path.read_bytes().startswith(file.header)


def test_truncated_file_raises_corrupt_at_every_byte(tmp_path: Path) -> None:
    whole = build(EVERY_DTYPE, metadata={"format": "pt"})
    path = tmp_path / "x.safetensors"
    for length in range(len(whole)):
        path.write_bytes(whole[:length])
        with pytest.raises(CorruptError, match=r"x\.safetensors"):
            SafetensorsFile(path)


def test_arrays_outlive_the_file_and_its_pages(tmp_path: Path) -> None:
    path = tmp_path / "x.safetensors"
    spec = TensorSpec("a", "U16", (40_000,))
    content = content_of(spec, 3)
    path.write_bytes(build([(spec, content)]))
    with SafetensorsFile(path) as file:
        array = file.read("a")
        file.release("a")
        assert array.tobytes() == content
    path.unlink()
    assert array.tobytes() == content


def test_unknown_tensor_names_the_nearest(tmp_path: Path) -> None:
    path = tmp_path / "x.safetensors"
    path.write_bytes(build([(TensorSpec("layer.weight", "U8", (1,)), b"a")]))
    with pytest.raises(UnknownNameError, match=r"no tensor 'layer.wight'; did you mean 'layer.weight'\?"):
        SafetensorsFile(path).read("layer.wight")


def test_missing_file_raises_usage(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="cannot be read"):
        SafetensorsFile(tmp_path / "none.safetensors")
