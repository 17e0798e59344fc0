from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from archives import every_dtype, random_array, random_grid, small_lossy, write_archive
from damage import BytesRanges
from tersor.archive import open_archive
from tersor.archive.file import ArchiveFile
from tersor.archive.hashing import decoded_matrix
from tersor.archive.index import ArchiveRecord, FolderRecord
from tersor.errors import CorruptError, ShapeError, UnknownNameError, UsageError
from tersor.layouts import Alias, Dense
from tersor.types import TensorSpec

NAME = "model.tersor.safetensors"


def folder_record(archives: list[ArchiveRecord] | None = None) -> FolderRecord:
    return FolderRecord(False, archives or [], [], [], False)


def expected_arrays(tensors: dict) -> dict[str, np.ndarray]:
    arrays: dict[str, np.ndarray] = {}
    for spec, value in tensors.items():
        if isinstance(value, Alias):
            arrays[spec.name] = arrays[value.target]
        else:
            arrays[spec.name] = value.array if isinstance(value, Dense) else decoded_matrix(spec, value)
    return arrays


@pytest.fixture(scope="module")
def large(tmp_path_factory: pytest.TempPathFactory):
    """An archive whose tensors have several blocks, down and across, plain and transposed."""
    tensors = {
        TensorSpec("tall", "BF16", (9000, 128)): Dense(random_array(TensorSpec("tall", "BF16", (9000, 128)))),
        TensorSpec("wide", "F32", (3, 700_000)): Dense(random_array(TensorSpec("wide", "F32", (3, 700_000)))),
        TensorSpec("line", "F16", (700_001,)): Dense(random_array(TensorSpec("line", "F16", (700_001,)))),
        TensorSpec("grid", "F32", (1500, 400)): random_grid(1500, 400),
        TensorSpec("conv1d", "BF16", (400, 1500)): random_grid(1500, 400, seed=3, transposed=True),
        TensorSpec("experts", "F32", (3, 300, 700)): random_grid(2100, 300, seed=4, transposed=True),
    }
    path = tmp_path_factory.mktemp("large") / NAME
    write_archive(path, tensors)
    with open_archive(path) as archive:
        assert all(len(archive.tensor(name).table) > 1 for name in archive)
        yield archive, expected_arrays(tensors)


@pytest.mark.parametrize("make", [every_dtype, small_lossy])
def test_every_tensor_comes_back(make, tmp_path: Path) -> None:
    tensors = make()
    write_archive(tmp_path / NAME, tensors)
    with open_archive(tmp_path / NAME) as archive:
        assert list(archive) == [spec.name for spec in tensors]
        assert list(archive.specs.values()) == list(tensors)
        for name, expected in expected_arrays(tensors).items():
            found = archive[name]
            assert found.dtype == expected.dtype
            assert found.shape == expected.shape
            assert found.tobytes() == expected.tobytes()


@pytest.mark.parametrize("threads", [1, 3])
def test_tensors_of_many_blocks_come_back(large, threads: int) -> None:
    archive, expected = large
    for name, array in expected.items():
        assert archive.read(name, threads=threads).tobytes() == array.tobytes()


@settings(max_examples=60, deadline=None)
@given(data=st.data())
def test_any_rectangle_is_that_of_the_tensor(large, data: st.DataObject) -> None:
    archive, expected = large
    name = data.draw(st.sampled_from(sorted(expected)))
    array = expected[name]
    matrix = array.reshape(-1, array.shape[-1])
    ends = [
        st.one_of(st.none(), st.integers(-size - 2, size + 2)) for size in (matrix.shape[0], matrix.shape[1])
    ]
    rows = slice(data.draw(ends[0]), data.draw(ends[0])) if array.ndim > 1 else None
    columns = slice(data.draw(ends[1]), data.draw(ends[1]))
    found = archive.read(name, rows=rows, columns=columns, threads=data.draw(st.integers(1, 2)))
    wanted = matrix[rows or slice(None), columns]
    assert np.array_equal(found, wanted if array.ndim > 1 else wanted[0])


def test_rows_of_rank_three_are_rows_of_all_slabs(large) -> None:
    archive, expected = large
    found = archive.read("experts", rows=slice(299, 301))
    assert np.array_equal(found, expected["experts"].reshape(900, 700)[299:301])


def test_row_slice_reads_only_its_blocks(tmp_path: Path) -> None:
    spec = TensorSpec("a", "BF16", (9000, 256))
    write_archive(tmp_path / NAME, {spec: Dense(random_array(spec))})
    ranges = BytesRanges((tmp_path / NAME).read_bytes())
    file = ArchiveFile(ranges)
    assert ranges.n_requests == 1
    tensor = file.tensor(0)
    assert len(tensor.table) > 3
    tensor.read_into(np.empty((1, 256), spec.numpy_dtype), range(1), range(256))
    assert ranges.n_requests == 2


def test_file_with_a_long_header_opens_in_two_requests(tmp_path: Path) -> None:
    specs = [TensorSpec(f"a.rather.long.name.of.a.tensor.{number}", "F32", (2,)) for number in range(1000)]
    write_archive(tmp_path / NAME, {spec: Dense(random_array(spec)) for spec in specs})
    ranges = BytesRanges((tmp_path / NAME).read_bytes())
    assert len(ArchiveFile(ranges).specs) == 1000
    assert ranges.n_requests == 2


def test_out_is_filled_and_returned(large) -> None:
    archive, expected = large
    out = np.empty((100, 128), expected["tall"].dtype)
    assert archive.read("tall", rows=slice(50, 150), out=out) is out
    assert np.array_equal(out, expected["tall"][50:150])


@pytest.mark.parametrize(
    ("out", "message"),
    [
        (np.empty((2, 8), np.float32), "needs \\[12, 8\\] float32"),
        (np.empty((12, 8), np.float64), "needs \\[12, 8\\] float32"),
        (np.empty((8, 12), np.float32).T, "C-contiguous"),
    ],
)
def test_out_that_does_not_fit_raises_shape_error(out: np.ndarray, message: str, tmp_path: Path) -> None:
    write_archive(tmp_path / NAME, small_lossy())
    with open_archive(tmp_path / NAME) as archive, pytest.raises(ShapeError, match=message):
        archive.read("embed", out=out)


def test_rows_of_a_vector_raise_usage(large) -> None:
    with pytest.raises(UsageError, match="rows need rank 2"):
        large[0].read("line", rows=slice(0, 1))


def test_step_other_than_one_raises_usage(large) -> None:
    with pytest.raises(UsageError, match="step of 1"):
        large[0].read("tall", rows=slice(None, None, 2))


def test_unknown_name_names_the_nearest(large) -> None:
    with pytest.raises(UnknownNameError, match="did you mean 'conv1d'"):
        large[0]["conv1"]
    with pytest.raises(KeyError):
        large[0]["conv1"]
    assert "conv1" not in large[0]


def test_aliases_name_their_target_and_give_its_values(tmp_path: Path) -> None:
    write_archive(tmp_path / NAME, small_lossy())
    with open_archive(tmp_path / NAME) as archive:
        assert dict(archive.aliases) == {"head": "embed"}
        assert np.array_equal(archive["head"], archive["embed"])


def test_several_threads_may_read_at_once(large) -> None:
    archive, expected = large
    names = sorted(expected) * 4
    with ThreadPoolExecutor(4) as pool:
        for name, found in zip(names, pool.map(archive.read, names), strict=True):
            assert found.tobytes() == expected[name].tobytes()


def test_arrays_outlive_the_archive(tmp_path: Path) -> None:
    write_archive(tmp_path / NAME, small_lossy())
    with open_archive(tmp_path / NAME) as archive:
        array = archive["embed"]
    assert array.sum() == array.sum()


def test_folder_is_one_mapping_over_its_files(tmp_path: Path) -> None:
    one, two = (TensorSpec(name, "F32", (4,)) for name in ("one", "two"))
    crc = write_archive(tmp_path / "b.tersor.safetensors", {two: Dense(random_array(two, 2))})
    write_archive(
        tmp_path / "a.tersor.safetensors",
        {one: Dense(random_array(one, 1))},
        folder=folder_record([ArchiveRecord("b.tersor.safetensors", crc)]),
    )
    with open_archive(tmp_path) as archive:
        assert list(archive) == ["one", "two"]
        assert archive.provenance == {"seed": 0}


def test_name_that_two_files_hold_belongs_to_the_one_nearest_the_top(tmp_path: Path) -> None:
    spec = TensorSpec("w", "F32", (4,))
    (tmp_path / "sub").mkdir()
    crc = write_archive(tmp_path / "sub" / NAME, {spec: Dense(random_array(spec, 2))})
    record = folder_record([ArchiveRecord(f"sub/{NAME}", crc)])
    write_archive(tmp_path / NAME, {spec: Dense(random_array(spec, 1))}, folder=record)
    with open_archive(tmp_path) as archive:
        assert list(archive) == ["w", "sub/model:w"]
        assert np.array_equal(archive["w"], random_array(spec, 1))
        assert np.array_equal(archive["sub/model:w"], random_array(spec, 2))


def test_folder_without_a_file_that_its_primary_names_raises_corrupt(tmp_path: Path) -> None:
    record = folder_record([ArchiveRecord("b.tersor.safetensors", 5)])
    write_archive(tmp_path / NAME, small_lossy(), folder=record)
    with pytest.raises(CorruptError, match=r"b\.tersor\.safetensors is missing"):
        open_archive(tmp_path)


def test_folder_with_a_file_of_another_version_raises_corrupt(tmp_path: Path) -> None:
    spec = TensorSpec("x", "F32", (4,))
    write_archive(tmp_path / "b.tersor.safetensors", {spec: Dense(random_array(spec))})
    record = folder_record([ArchiveRecord("b.tersor.safetensors", 5)])
    write_archive(tmp_path / NAME, small_lossy(), folder=record)
    with pytest.raises(CorruptError, match="is another version"):
        open_archive(tmp_path)


def test_folder_without_primary_raises_corrupt_but_its_files_open(tmp_path: Path) -> None:
    write_archive(tmp_path / NAME, small_lossy())
    with pytest.raises(CorruptError, match="exactly one primary archive file, found none"):
        open_archive(tmp_path)
    with open_archive(tmp_path / NAME) as archive:
        assert archive.folder is None


def test_folder_without_archive_files_raises_usage(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"no \*\.tersor\.safetensors file"):
        open_archive(tmp_path)


def test_missing_path_raises_usage(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="cannot be read"):
        open_archive(tmp_path / "nothing")
