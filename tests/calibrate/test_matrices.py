from __future__ import annotations

import io
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from tersor.calibrate.matrices import MatrixSums
from tersor.errors import CorruptError


@pytest.mark.parametrize("memory_bytes", [0, 4 * 9, 1 << 20])
def test_sums_are_the_same_in_memory_and_in_files(memory_bytes: int, tmp_path: Path) -> None:
    sums = MatrixSums(tmp_path, memory_bytes)
    for number in range(1, 4):
        for key in ("a", "b"):
            sums.update(key, 3, lambda total, n=number: total.add_(n))
    for key in ("a", "b"):
        found = sums.take(key)
        assert found is not None
        assert found.tolist() == [[6.0] * 3] * 3
        assert sums.take(key) is None
    assert not list(tmp_path.iterdir())


def test_memory_that_is_given_back_is_used_again(tmp_path: Path) -> None:
    sums = MatrixSums(tmp_path, 4 * 4)
    sums.update("a", 2, lambda total: total.fill_(1))
    sums.take("a")
    sums.update("b", 2, lambda total: total.fill_(2))
    assert not list(tmp_path.iterdir())


@settings(max_examples=20)
@given(sizes=st.lists(st.integers(1, 5), min_size=1, max_size=5), memory=st.integers(0, 200))
def test_saved_sums_are_restored(
    sizes: list[int], memory: int, tmp_path_factory: pytest.TempPathFactory
) -> None:
    folder = tmp_path_factory.mktemp("sums")
    (folder / "files").mkdir()
    (folder / "saved").mkdir()
    sums = MatrixSums(folder / "files", memory)
    expected = {}
    for number, size in enumerate(sizes):
        expected[f"{number}.input"] = np.random.RandomState(number).randn(size, size).astype(np.float32)
        sums.update(
            f"{number}.input",
            size,
            lambda total, n=number: total.copy_(torch.from_numpy(expected[f"{n}.input"])),
        )
    sums.save(folder / "saved")
    for key in expected:
        sums.update(key, len(expected[key]), lambda total: total.zero_())
    sums.restore(folder / "saved")
    for key, matrix in expected.items():
        assert np.array_equal(sums.take(key), matrix)


class ShortReads(io.FileIO):
    """Reads 7 bytes at most at once, as Linux does with 0x7FFFF000."""

    def readinto(self, buffer: memoryview) -> int:
        return super().readinto(buffer[:7])


def test_file_that_one_read_does_not_fill_is_read_on(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    sums = MatrixSums(tmp_path, 0)
    sums.update("a", 4, lambda total: total.copy_(torch.arange(16.0).reshape(4, 4)))
    monkeypatch.setattr(Path, "open", lambda path, mode, buffering: ShortReads(path, mode))
    found = sums.take("a")
    assert found is not None
    assert found.ravel().tolist() == list(range(16))


def test_cut_file_is_named(tmp_path: Path) -> None:
    sums = MatrixSums(tmp_path, 0)
    sums.update("a", 4, lambda total: total.fill_(1))
    (path,) = tmp_path.iterdir()
    path.write_bytes(bytes(10))
    with pytest.raises(CorruptError, match=r"sum-a.bin: 10 bytes of a sum of 64; was the disk full"):
        sums.take("a")
