from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from archives import context_for, every_dtype, random_array, random_grid, small_lossy, write_archive
from tersor.archive import open_archive
from tersor.archive.writer import Addition, ArchiveWriter
from tersor.errors import UnknownNameError, UsageError
from tersor.layouts import Alias, Context, Dense
from tersor.types import TensorSpec

NAME = "model.tersor.safetensors"
SQUARE = TensorSpec("a", "F32", (200, 100))


def several_blocks() -> dict:
    spec = TensorSpec("big", "BF16", (9000, 200))
    integers = TensorSpec("integers", "I32", (3000, 400))
    return {
        spec: Dense(random_array(spec)),
        TensorSpec("grid", "F32", (2000, 300)): random_grid(2000, 300),
        integers: Dense((random_array(integers) % 100).astype(np.int32)),
    }


@pytest.mark.parametrize("make", [several_blocks, every_dtype, small_lossy])
def test_file_does_not_depend_on_the_number_of_threads(make, tmp_path: Path) -> None:
    for threads in (1, 2, 5):
        write_archive(tmp_path / f"{threads}.tersor.safetensors", make(), threads=threads)
    files = {(tmp_path / f"{threads}.tersor.safetensors").read_bytes() for threads in (1, 2, 5)}
    assert len(files) == 1


@pytest.mark.parametrize("make", [several_blocks, every_dtype, small_lossy])
@pytest.mark.parametrize("threads", [1, 2])
def test_file_does_not_depend_on_how_many_tensors_are_added_together(
    make, threads: int, tmp_path: Path
) -> None:
    tensors = make()
    for n_together in (1, 3, 100):
        additions = [Addition(spec, value) for spec, value in tensors.items()]
        path = tmp_path / f"{n_together}.tersor.safetensors"
        with ArchiveWriter(path, context_for(tensors), threads=threads) as writer:
            for begin in range(0, len(additions), n_together):
                writer.add_all(additions[begin : begin + n_together])
            writer.finish()
    files = {(tmp_path / f"{n}.tersor.safetensors").read_bytes() for n in (1, 3, 100)}
    assert len(files) == 1


def test_ties_and_aliases_among_tensors_added_together(tmp_path: Path) -> None:
    first, second = random_array(SQUARE), random_array(SQUARE, 1)
    values = {"a": Dense(first), "b": Dense(second), "c": Dense(first), "d": Alias("c"), "e": Dense(second)}
    with ArchiveWriter(tmp_path / NAME, Context(), find_ties=True) as writer:
        sizes = writer.add_all(
            [Addition(TensorSpec(name, "F32", SQUARE.shape), value) for name, value in values.items()]
        )
        writer.finish()
    assert [size > 0 for size in sizes] == [True, True, False, False, False]
    with open_archive(tmp_path / NAME) as archive:
        for name in "acd":
            np.testing.assert_array_equal(archive[name], first)
        for name in "be":
            np.testing.assert_array_equal(archive[name], second)


def test_same_name_twice_among_tensors_added_together_raises_usage(tmp_path: Path) -> None:
    addition = Addition(SQUARE, Dense(random_array(SQUARE)))
    with ArchiveWriter(tmp_path / NAME, Context()) as writer, pytest.raises(UsageError, match="taken"):
        writer.add_all([addition, addition])


def test_progress_adds_up_to_the_bytes_of_the_tensors(tmp_path: Path) -> None:
    tensors, steps = several_blocks(), []
    with ArchiveWriter(tmp_path / NAME, context_for(tensors)) as writer:
        writer.add_all([Addition(spec, value) for spec, value in tensors.items()], steps.append)
    assert sum(steps) == sum(spec.n_bytes for spec in tensors)


def test_small_archive_pays_little_for_header_and_index(tmp_path: Path) -> None:
    specs = [TensorSpec(f"encoder.layer.{n}.weight", "BF16", (128, 128)) for n in range(32)]
    write_archive(tmp_path / NAME, {spec: Dense(random_array(spec, n)) for n, spec in enumerate(specs)})
    with open_archive(tmp_path / NAME) as archive:
        file = archive.files[0]
        n_stream_bytes = sum(stream.end - stream.begin for stream in file.streams)
        assert file.ranges.n_bytes - n_stream_bytes <= 0.02 * 32 * 128 * 128 * 2


def test_nothing_is_left_beside_the_file(tmp_path: Path) -> None:
    write_archive(tmp_path / NAME, small_lossy())
    assert [path.name for path in tmp_path.iterdir()] == [NAME]


def test_abandoned_writer_leaves_nothing(tmp_path: Path) -> None:
    with ArchiveWriter(tmp_path / NAME, Context()) as writer:
        writer.add(SQUARE, Dense(random_array(SQUARE)))
    assert list(tmp_path.iterdir()) == []


def test_existing_file_is_not_overwritten(tmp_path: Path) -> None:
    (tmp_path / NAME).write_text("mine")
    with pytest.raises(FileExistsError):
        write_archive(tmp_path / NAME, small_lossy())
    assert (tmp_path / NAME).read_text() == "mine"


@pytest.mark.parametrize("name", ["a", "tersor.index", "__metadata__"])
def test_name_that_is_taken_or_reserved_raises_usage(name: str, tmp_path: Path) -> None:
    with ArchiveWriter(tmp_path / NAME, Context()) as writer:
        writer.add(SQUARE, Dense(random_array(SQUARE)))
        with pytest.raises(UsageError, match="taken or reserved"):
            writer.add(TensorSpec(name, "U8", (1,)), Dense(np.zeros(1, np.uint8)))


def test_rank_beyond_the_format_raises_usage(tmp_path: Path) -> None:
    spec = TensorSpec("deep", "U8", (1,) * 33)
    with (
        ArchiveWriter(tmp_path / NAME, Context()) as writer,
        pytest.raises(UsageError, match="rank 33, at most 32"),
    ):
        writer.add(spec, Dense(np.zeros(spec.shape, np.uint8)))


def test_alias_of_a_later_tensor_raises_unknown_name(tmp_path: Path) -> None:
    with (
        ArchiveWriter(tmp_path / NAME, Context()) as writer,
        pytest.raises(UnknownNameError, match="no tensor 'a'"),
    ):
        writer.add(TensorSpec("b", "F32", (200, 100)), Alias("a"))


def test_alias_of_another_shape_raises_usage(tmp_path: Path) -> None:
    with ArchiveWriter(tmp_path / NAME, Context()) as writer:
        writer.add(SQUARE, Dense(random_array(SQUARE)))
        with pytest.raises(UsageError, match="is tied to"):
            writer.add(TensorSpec("b", "F32", (100, 200)), Alias("a"))


def test_alias_of_an_alias_has_the_same_target(tmp_path: Path) -> None:
    with ArchiveWriter(tmp_path / NAME, Context()) as writer:
        writer.add(SQUARE, Dense(random_array(SQUARE)))
        writer.add(TensorSpec("b", SQUARE.dtype, SQUARE.shape), Alias(SQUARE.name))
        writer.add(TensorSpec("c", SQUARE.dtype, SQUARE.shape), Alias("b"))
        writer.finish()
    with open_archive(tmp_path / NAME) as archive:
        assert dict(archive.aliases) == {"b": SQUARE.name, "c": SQUARE.name}


def aliases_found(tmp_path: Path, arrays: dict[str, np.ndarray]) -> dict[str, str]:
    with ArchiveWriter(tmp_path / NAME, Context(), find_ties=True) as writer:
        for name, array in arrays.items():
            writer.add(TensorSpec(name, "F32", array.shape), Dense(array))
        writer.finish()
    with open_archive(tmp_path / NAME) as archive:
        for name, array in arrays.items():
            assert np.array_equal(archive[name], array)
        return dict(archive.aliases)


def test_equal_tensors_are_stored_once(tmp_path: Path) -> None:
    array = random_array(SQUARE)
    assert aliases_found(tmp_path, {"a": array, "b": array.copy(), "c": array.copy()}) == {"b": "a", "c": "a"}


def test_equal_bytes_of_another_shape_are_no_tie(tmp_path: Path) -> None:
    array = random_array(SQUARE)
    assert aliases_found(tmp_path, {"a": array, "b": array.reshape(100, 200)}) == {}


def test_initial_values_are_no_tie(tmp_path: Path) -> None:
    zeros, small = np.zeros((200, 100), np.float32), random_array(TensorSpec("s", "F32", (50,)))
    arrays = {"a": zeros, "b": zeros.copy(), "c": small, "d": small.copy()}
    assert aliases_found(tmp_path, arrays) == {}


def test_order_of_provenance_does_not_matter(tmp_path: Path) -> None:
    files = []
    for number, provenance in enumerate(({"a": 1, "b": {"c": 2, "d": 3}}, {"b": {"d": 3, "c": 2}, "a": 1})):
        path = tmp_path / f"{number}.tersor.safetensors"
        with ArchiveWriter(path, Context(), producer="x") as writer:
            writer.finish(provenance=provenance)
        files.append(path.read_bytes())
    assert files[0] == files[1]


def test_progress_of_a_tensor_adds_up_to_its_bytes(tmp_path: Path) -> None:
    with ArchiveWriter(tmp_path / NAME, context_for(several_blocks())) as writer:
        for spec, value in several_blocks().items():
            done: list[int] = []
            writer.add(spec, value, done.append)
            assert sum(done) == spec.n_bytes
            assert len(done) > 2
