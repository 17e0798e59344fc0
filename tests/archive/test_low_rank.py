"""Low-rank tensors in archives: written, read in parts, verified, described, and refused when damaged."""

from __future__ import annotations

import copy
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import tersor
from archives import context_for, random_grid, write_archive
from damage import Parts
from low_rank_archives import FILE, floats, small_low_rank
from reference_reader import FormatError, UnsupportedError, read_archive
from tersor.archive.hashing import decoded_matrix
from tersor.archive.index import FolderRecord
from tersor.archive.reader import Archive, open_archive
from tersor.archive.verify import verify
from tersor.archive.writer import Addition, ArchiveWriter
from tersor.errors import CorruptError, NewerFormatError, ShapeError, UsageError
from tersor.layouts import Alias, Dense, LowRank
from tersor.types import TensorSpec

PIVOTS = np.array([1, 4, 20], np.int64)
VALUES: dict[TensorSpec, Any] = {
    TensorSpec("plain", "F32", (12, 20)): small_low_rank(),
    TensorSpec("pivots", "BF16", (12, 20)): small_low_rank(pivots=True),
    TensorSpec("residual", "F16", (12, 20)): small_low_rank(residual=True),
    TensorSpec("conv1d", "F32", (9, 24)): LowRank(
        random_grid(21, 3), Dense(floats(3, 9)), Dense(floats(24, 9)), True, PIVOTS
    ),
    TensorSpec("experts", "F32", (4, 3, 6)): LowRank(
        Dense(floats(21, 3)), random_grid(3, 3), transposed=True, pivots=PIVOTS
    ),
    TensorSpec("tied", "F32", (12, 20)): Alias("plain"),
    TensorSpec("norm", "F32", (12, 20)): Dense(floats(12, 20)),
}
STORED = {spec.name: (spec, value) for spec, value in VALUES.items() if isinstance(value, LowRank)}


@pytest.fixture(scope="module")
def path(tmp_path_factory: pytest.TempPathFactory) -> Path:
    found = tmp_path_factory.mktemp("low-rank") / FILE
    write_archive(found, VALUES, folder=FolderRecord(False, [], [], [], False))
    return found


@pytest.fixture(scope="module")
def archive(path: Path) -> Archive:
    return open_archive(path)


def test_parts_are_not_listed_and_ties_are(archive: Archive) -> None:
    assert list(archive) == [spec.name for spec in VALUES]
    assert set(archive.specs.values()) == set(VALUES)
    assert archive.aliases == {"tied": "plain"}


@pytest.mark.parametrize("name", STORED)
def test_tensor_is_the_product_to_both_readers(name: str, archive: Archive, path: Path) -> None:
    expected = decoded_matrix(*STORED[name])
    assert archive[name].tobytes() == expected.tobytes()
    assert read_archive(path).tensors[name].tobytes() == expected.tobytes()


def test_all_tensors_at_once_and_tied_ones_once(archive: Archive) -> None:
    found = archive.read_all(threads=2)
    assert found["tied"] is found["plain"]
    assert all(np.array_equal(found[name], archive[name]) for name in archive)


@given(name=st.sampled_from(sorted(STORED)), data=st.data())
def test_any_rectangle_has_the_bits_of_the_whole(name: str, data: st.DataObject, archive: Archive) -> None:
    whole = archive[name].reshape(-1, archive[name].shape[-1])
    rows, columns = (
        slice(*sorted(data.draw(st.tuples(st.integers(0, size), st.integers(0, size)))))
        for size in whole.shape
    )
    found = archive.read(name, rows=rows, columns=columns)
    assert found.tobytes() == np.ascontiguousarray(whole[rows, columns]).tobytes()


def test_row_range_reads_only_its_rows_of_the_left_factor(tmp_path: Path) -> None:
    path, value = tmp_path / FILE, LowRank(Dense(floats(200_000, 4)), Dense(floats(4, 4)))
    write_archive(path, {TensorSpec("w", "F32", (200_000, 4)): value})
    with open_archive(path) as archive:
        (file,) = archive.files
        left = file.tensor(file.numbers["w.tersor.left"])
        assert len(left.table) > 1
        seen: list[int] = []
        left.decode_block = lambda block, *rest: seen.append(block.number)  # type: ignore[method-assign]
        archive.read("w", rows=slice(0, 10))
        assert seen == [0]


def test_factors_are_the_parts(archive: Archive) -> None:
    found = archive.factors("conv1d")
    assert found is not None
    assert (found.rank, found.transposed, found.pivots.tolist()) == (3, True, PIVOTS.tolist())
    np.testing.assert_allclose(
        (found.whole_left() @ found.right + found.residual).T, archive["conv1d"], atol=1e-6
    )
    assert archive.factors("tied").pivots is None
    assert archive.factors("norm") is None


def test_verify_reads_the_parts_and_counts_them_with_the_tensor(path: Path, tmp_path: Path) -> None:
    result = verify(path.parent)
    assert (result["problems"], result["n_tensors"]) == ([], len(VALUES))
    with open_archive(path) as archive:
        (file,) = archive.files
        begin = file.tensor(file.numbers["plain.tersor.right"])._begin
    data = bytearray(path.read_bytes())
    data[begin + 40] ^= 1
    (tmp_path / FILE).write_bytes(data)
    problems = verify(tmp_path)["problems"]
    assert problems
    assert all("plain.tersor.right" in problem for problem in problems)


def test_verify_against_the_original_ignores_parts(path: Path, tmp_path: Path) -> None:
    from safetensors.numpy import save_file

    with open_archive(path) as archive:
        plain = {name: np.array(archive[name]) for name in archive if archive.specs[name].dtype != "BF16"}
    save_file(plain, tmp_path / "model.safetensors")
    (problem,) = verify(path.parent, against=tmp_path)["problems"]
    assert "'pivots'" in problem


def test_inspect_shows_one_row_with_the_bytes_of_the_parts(path: Path) -> None:
    described = tersor.inspect(path.parent)
    rows = {row["name"]: row for row in described["tensors"]}
    assert list(rows) == [spec.name for spec in VALUES]
    assert rows["conv1d"]["codec"] == "rank 3: grid/1 x dense/1 + dense/1"
    assert rows["experts"]["layout"] == "low_rank/1"
    assert rows["pivots"]["n_bytes"] > 0
    n_elements = sum(spec.n_elements for spec, value in VALUES.items() if not isinstance(value, Alias))
    assert described["input"]["n_params"] == n_elements
    assert described["input"]["n_bytes"] == sum(spec.n_bytes for spec in VALUES)


def test_file_does_not_depend_on_how_tensors_are_added(path: Path, tmp_path: Path) -> None:
    together, moved = tmp_path / FILE, []
    with ArchiveWriter(together, context_for(VALUES), producer="tests", threads=2) as writer:
        n_bytes = writer.add_all([Addition(spec, value) for spec, value in VALUES.items()], moved.append)
        writer.finish([], {"seed": 0}, FolderRecord(False, [], [], [], False))
    assert together.read_bytes() == path.read_bytes()
    assert sum(moved) == sum(spec.n_bytes for spec in VALUES)
    assert n_bytes == [row["n_bytes"] for row in tersor.inspect(path.parent)["tensors"]]


def test_writer_refuses_a_product_of_another_shape_and_a_taken_name(tmp_path: Path) -> None:
    spec = TensorSpec("w", "F32", (20, 12))
    with ArchiveWriter(tmp_path / "a", context_for({})) as writer:
        with pytest.raises(ShapeError, match=r"product of \[12, 20\]; F32 \[20, 12\] needs \[20, 12\]"):
            writer.add(spec, small_low_rank())
        writer.add(TensorSpec("v.tersor.left", "F32", (3,)), Dense(floats(3)))
        with pytest.raises(UsageError, match=r"'v\.tersor\.left' is taken"):
            writer.add(TensorSpec("v", "F32", (12, 20)), small_low_rank())


def changed(element: int, value: Any) -> Callable[[list[Any]], None]:
    """A change of one element of the meta of "residual", tensor 9 with the parts 6, 7 and 8."""

    def change(tensors: list[Any]) -> None:
        tensors[9][3][element] = value

    return change


def record(number: int, element: int, value: Any) -> Callable[[list[Any]], None]:
    def change(tensors: list[Any]) -> None:
        tensors[number][element] = value

    return change


BROKEN: dict[str, Callable[[list[Any]], None]] = {
    "a part that is not there": changed(1, 99),
    "a negative part": changed(1, -1),
    "itself as a part": changed(1, 9),
    "another low-rank tensor as a part": changed(2, 2),
    "an alias as a part": changed(3, 17),
    "a left factor of another rank": changed(1, 7),
    "a residual of another shape": changed(3, 7),
    "no array of five": record(9, 3, [0, 6, 7, None]),
    "no meta": record(9, 3, None),
    "pivots that are not there": changed(4, b"\x07\x00"),
    "pivots that are no bytes": changed(4, 7),
    "transposed to another shape": changed(0, 1),
    "a tensor of integers": record(9, 0, "I16"),
    "a part of integers": record(8, 0, "I32"),
    "a vector as a part": record(6, 1, [36]),
    "a wrong hash": record(9, 4, bytes(16)),
    "a head": record(9, 5, 1),
    "blocks": record(9, 6, 12),
    "block lengths": record(9, 8, b"\1"),
    "checksums": record(9, 9, bytes(4)),
}


@pytest.fixture(scope="module")
def parts(path: Path) -> Parts:
    return Parts.of(path.read_bytes())


def damaged(parts: Parts, change: Callable[[list[Any]], None], folder: Path) -> Path:
    index = copy.deepcopy(parts.index)
    change(index[4])
    (folder / FILE).write_bytes(Parts(parts.header, index, parts.streams).join())
    return folder


@pytest.mark.parametrize("what", BROKEN)
def test_both_readers_reject(what: str, parts: Parts, tmp_path: Path) -> None:
    root = damaged(parts, BROKEN[what], tmp_path)
    with pytest.raises(FormatError) as found:
        read_archive(root)
    assert found.type is not UnsupportedError
    assert verify(root)["problems"] != []
    if what != "a wrong hash":
        with pytest.raises(CorruptError, match=r"low-rank tensor 'residual'.*fetch it again"):
            open_archive(root)


def test_unknown_flag_is_named_and_other_tensors_stay_readable(parts: Parts, tmp_path: Path) -> None:
    root = damaged(parts, changed(0, 2), tmp_path)
    assert list(read_archive(root).unreadable) == ["residual"]
    with open_archive(root) as archive:
        assert archive["plain"].shape == (12, 20)
        with pytest.raises(NewerFormatError, match="tensor 'residual': low_rank/1 with flags 0x2"):
            archive["residual"]


def test_alias_of_a_part_is_read_as_what_it_equals(parts: Parts, tmp_path: Path) -> None:
    def change(tensors: list[Any]) -> None:
        tensors[17][1], tensors[17][3] = [12, 3], 0

    root = damaged(parts, change, tmp_path)
    with open_archive(root) as archive:
        assert np.array_equal(archive["tied"], floats(12, 3, seed=1))
        assert archive.aliases == {}
