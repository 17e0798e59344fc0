from __future__ import annotations

from pathlib import Path

import pytest

from tersor.errors import UsageError
from tersor.evaluate.size import weight_bytes, weight_files


def write(folder: Path, **sizes: int) -> None:
    for name, size in sizes.items():
        (folder / name.replace("__", ".")).write_bytes(bytes(size))


def test_safetensors_are_preferred_to_bin(tmp_path: Path) -> None:
    write(tmp_path, model__safetensors=10, pytorch_model__bin=99, config__json=5)
    assert weight_bytes(tmp_path) == 10


def test_archive_files_are_preferred_to_all_others_and_summed_in_subfolders(tmp_path: Path) -> None:
    (tmp_path / "part").mkdir()
    write(tmp_path, model__tersor__safetensors=10, model__safetensors=99)
    write(tmp_path / "part", model__tersor__safetensors=7)
    assert weight_bytes(tmp_path) == 17


def test_what_a_trainer_leaves_is_not_counted(tmp_path: Path) -> None:
    write(tmp_path, training_args__bin=50, weights__bin=3)
    assert weight_bytes(tmp_path) == 3


def test_one_file_is_itself(tmp_path: Path) -> None:
    write(tmp_path, anything__xyz=4)
    assert weight_files(tmp_path / "anything.xyz") == [tmp_path / "anything.xyz"]


def test_folder_without_weights_is_refused(tmp_path: Path) -> None:
    write(tmp_path, config__json=5)
    with pytest.raises(UsageError, match="no weight files"):
        weight_bytes(tmp_path)
