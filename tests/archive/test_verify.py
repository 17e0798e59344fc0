from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pytest
import safetensors.numpy

from archives import random_array, small_lossy, write_archive
from damage import Parts
from tersor.archive.index import FolderRecord
from tersor.archive.reader import open_archive
from tersor.archive.verify import verify
from tersor.errors import UsageError
from tersor.packing import pack
from tersor.types import TensorSpec

NAME = "model.tersor.safetensors"


@pytest.fixture
def original(tmp_path: Path) -> Path:
    folder = tmp_path / "original"
    (folder / "notes" / "empty").mkdir(parents=True)
    tensors = {
        name: random_array(TensorSpec(name, "F32", (3000, 200)), seed) for seed, name in enumerate(("a", "b"))
    }
    safetensors.numpy.save_file(tensors, folder / "model.safetensors")
    (folder / "config.json").write_text('{"model_type": "bert"}')
    (folder / "README.md").write_text("# a model\n")
    (folder / "notes" / "log.dat").write_bytes(b"line\n" * 1000)
    return folder


@pytest.fixture
def packed(original: Path, tmp_path: Path) -> Path:
    pack(original, tmp_path / "packed")
    return tmp_path / "packed"


def flip(path: Path, position: int) -> None:
    data = bytearray(path.read_bytes())
    data[position] ^= 16
    path.write_bytes(data)


def block_position(path: Path, tensor: str, block: int) -> int:
    """A byte in the middle of a block's payload."""
    with open_archive(path) as archive:
        stored = archive.tensor(tensor)
        begin, end = (stored._begin + int(offset) for offset in stored.table.offsets[block : block + 2])
        return (begin + end) // 2


@pytest.mark.parametrize("threads", [1, 2])
def test_sound_archive_is_ok(packed: Path, original: Path, threads: int) -> None:
    result = verify(packed, against=original, threads=threads)
    assert result["problems"] == []
    assert result["ok"]
    assert (result["n_files"], result["n_tensors"]) == (4, 3)
    assert result["n_blocks"] >= 5


def test_single_file_is_verified(packed: Path) -> None:
    assert verify(packed / NAME)["ok"]


def test_progress_ends_at_all_bytes(packed: Path) -> None:
    calls: list[tuple[int, int]] = []
    verify(packed, progress=lambda done, total: calls.append((done, total)))
    assert [done for done, _ in calls] == sorted(done for done, _ in calls)
    assert calls[-1] == (2 * 3000 * 200 * 4 + 5000, 2 * 3000 * 200 * 4 + 5000)


def test_every_damaged_block_is_named(packed: Path) -> None:
    path = packed / NAME
    for position in [
        block_position(path, "a", 0),
        block_position(path, "b", 0),
        block_position(path, "b", 1),
    ]:
        flip(path, position)
    problems = verify(packed)["problems"]
    assert len(problems) == 3
    for tensor, block in (("a", 0), ("b", 0), ("b", 1)):
        assert any(f"block {block} of" in problem and f"tensor {tensor!r}" in problem for problem in problems)


def test_wrong_tensor_hash_is_a_problem(packed: Path) -> None:
    parts = Parts.of((packed / NAME).read_bytes())
    parts.index[4][0][4] = bytes(16)
    (packed / NAME).write_bytes(parts.join())
    assert any("BLAKE3" in problem for problem in verify(packed / NAME)["problems"])


def test_wrong_file_hash_is_a_problem(packed: Path) -> None:
    parts = Parts.of((packed / NAME).read_bytes())
    parts.index[5][0][2] = bytes(32)
    (packed / NAME).write_bytes(parts.join())
    problems = verify(packed / NAME)["problems"]
    assert any("file 'model.safetensors': SHA-256" in problem for problem in problems)


def test_changed_side_file_is_a_problem(packed: Path) -> None:
    (packed / "README.md").write_text("# another\n")
    assert ["README.md" in problem for problem in verify(packed)["problems"]] == [True]


def test_missing_side_file_is_a_problem(packed: Path) -> None:
    (packed / "README.md").unlink()
    assert any("README.md" in problem and "No such file" in problem for problem in verify(packed)["problems"])


def test_changed_config_is_no_problem_as_the_original_is_kept(packed: Path) -> None:
    (packed / "config.json").write_text("{}")
    assert verify(packed)["ok"]


def test_missing_archive_file_is_a_problem(packed: Path) -> None:
    (packed / "notes" / "log.dat.tersor.safetensors").unlink()
    problems = verify(packed)["problems"]
    assert problems == ["archive file notes/log.dat.tersor.safetensors is missing"]


def test_foreign_archive_file_is_a_problem(packed: Path) -> None:
    shutil.copy(packed / NAME, packed / "notes" / NAME)
    write_archive(packed / "extra.tersor.safetensors", small_lossy())
    problems = " ".join(verify(packed)["problems"])
    assert "exactly one primary" in problems
    (packed / "notes" / NAME).unlink()
    assert "extra.tersor.safetensors does not belong here" in " ".join(verify(packed)["problems"])


def test_unreadable_archive_file_is_a_problem_beside_others(packed: Path) -> None:
    path = packed / "notes" / "log.dat.tersor.safetensors"
    path.write_bytes(path.read_bytes()[:-1])
    (packed / "README.md").unlink()
    problems = " ".join(verify(packed)["problems"])
    assert "log.dat" in problems
    assert "README.md" in problems


def test_unknown_layout_is_a_problem(packed: Path) -> None:
    parts = Parts.of((packed / NAME).read_bytes())
    parts.index[1][0] = "dense/9"
    (packed / NAME).write_bytes(parts.join())
    assert any("'dense/9'" in problem for problem in verify(packed / NAME)["problems"])


def test_other_original_is_told_file_by_file(packed: Path, original: Path) -> None:
    (original / "README.md").write_text("# changed\n")
    (original / "new.dat").write_bytes(b"1")
    (original / "notes" / "log.dat").unlink()
    (original / "notes" / "empty").rmdir()
    problems = verify(packed, against=original)["problems"]
    assert len(problems) == 4
    for words in (
        "README.md differs",
        "new.dat is not in the archive",
        "lacks notes/log.dat",
        "lacks the empty folder notes/empty",
    ):
        assert any(words in problem for problem in problems), words


def test_renamed_single_file_is_the_same(tmp_path: Path) -> None:
    (tmp_path / "a.dat").write_bytes(b"x" * 1000)
    pack(tmp_path / "a.dat", tmp_path / "out")
    (tmp_path / "a.dat").rename(tmp_path / "b.dat")
    assert verify(tmp_path / "out", against=tmp_path / "b.dat")["ok"]
    (tmp_path / "b.dat").write_bytes(b"y" * 1000)
    assert not verify(tmp_path / "out", against=tmp_path / "b.dat")["ok"]


def test_lossy_archive_is_compared_by_names_and_shapes(tmp_path: Path) -> None:
    out, folder = tmp_path / "out", tmp_path / "original"
    out.mkdir()
    folder.mkdir()
    write_archive(out / NAME, small_lossy(), folder=FolderRecord(False, [], [], [], False))
    arrays = {spec.name: np.zeros(spec.shape, np.float32) for spec in small_lossy() if spec.dtype == "F32"}
    arrays["norm"] = np.zeros(9, np.float32)
    arrays["other"] = np.zeros(1, np.float32)
    safetensors.numpy.save_file(arrays, folder / "model.safetensors")
    assert verify(out)["ok"]
    problems = verify(out, against=folder)["problems"]
    assert len(problems) == 4
    assert sum("is not in" in problem for problem in problems) == 3
    assert any("tensor 'norm' is F32 [8]" in problem for problem in problems)


def test_nothing_to_verify_raises_usage(tmp_path: Path) -> None:
    with pytest.raises(UsageError):
        verify(tmp_path)
