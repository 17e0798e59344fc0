"""What a scan finds, and what it refuses."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
import torch

from tersor.errors import UsageError
from tersor.sources.folder import scan

ROLES = {
    "model.safetensors": "weights",
    "1_Dense/model.safetensors": "weights",
    "model.safetensors.index.json": "plain",
    "pytorch_model.bin.index.json": "plain",
    "config.json": "side",
    "modules.json": "side",
    "1_Pooling/config.json": "side",
    "tokenizer.json": "side",
    "tokenizer.model": "side",
    "spiece.model": "side",
    "vocab.txt": "side",
    "merges.txt": "side",
    "qwen.tiktoken": "side",
    "chat_template.jinja": "side",
    "modeling_x.py": "side",
    "README.md": "side",
    "LICENSE": "side",
    ".gitattributes": "side",
    "notes.txt": "plain",
    "other.bin": "plain",
    "onnx/model.onnx": "plain",
    ".git/config.json": "plain",
}


def write(root: Path, relative: str, content: bytes = b"x") -> Path:
    path = root / relative
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content)
    return path


def test_every_file_has_the_role_that_its_name_says(tmp_path: Path) -> None:
    for relative in ROLES:
        write(tmp_path, relative)
    found = scan(tmp_path)
    assert {entry.relative: entry.role for entry in found.files} == ROLES
    assert [entry.relative for entry in found.files] == sorted(ROLES)
    assert found.n_bytes == len(ROLES)


def test_torch_files_are_weights_unless_they_are_trainer_state(tmp_path: Path) -> None:
    for name in ("pytorch_model.bin", "x.pt", "training_args.bin", "optimizer.pt", "rng_state_0.pth"):
        torch.save({"a": torch.ones(1)}, tmp_path / name)
    assert [entry.relative for entry in scan(tmp_path).with_role("weights")] == ["pytorch_model.bin", "x.pt"]


def test_large_side_file_is_plain_and_large_tokenizer_is_side(tmp_path: Path) -> None:
    for name in ("data.json", "tokenizer.json"):
        os.truncate(write(tmp_path, name), (16 << 20) + 1)
    os.truncate(write(tmp_path, "exact.json"), 16 << 20)
    roles = {entry.relative: entry.role for entry in scan(tmp_path).files}
    assert roles == {"data.json": "plain", "tokenizer.json": "side", "exact.json": "side"}


def test_empty_files_and_folders_are_recorded(tmp_path: Path) -> None:
    write(tmp_path, "a/empty", b"")
    (tmp_path / "b" / "c").mkdir(parents=True)
    found = scan(tmp_path)
    assert [(entry.relative, entry.n_bytes) for entry in found.files] == [("a/empty", 0)]
    assert found.empty_folders == ("b/c",)


def test_single_file_is_a_checkpoint(tmp_path: Path) -> None:
    found = scan(write(tmp_path, "noise.dat", b"abc"))
    assert found.is_single_file
    assert [(entry.relative, entry.folder, entry.name) for entry in found.files] == [
        ("noise.dat", "", "noise.dat")
    ]


def test_linked_files_are_followed_as_in_the_hub_cache(tmp_path: Path) -> None:
    blob = write(tmp_path, "blobs/0123", b"abc")
    (tmp_path / "snapshot").mkdir()
    (tmp_path / "snapshot" / "config.json").symlink_to(blob)
    (entry,) = scan(tmp_path / "snapshot").files
    assert (entry.relative, entry.n_bytes, entry.path.read_bytes()) == ("config.json", 3, b"abc")


def test_linked_folder_inside_is_followed(tmp_path: Path) -> None:
    write(tmp_path, "a/x")
    (tmp_path / "b").symlink_to("a")
    assert [entry.relative for entry in scan(tmp_path).files] == ["a/x", "b/x"]


def test_dangling_link_is_refused(tmp_path: Path) -> None:
    (tmp_path / "config.json").symlink_to("gone")
    with pytest.raises(UsageError, match=r"config\.json: this link leads nowhere"):
        scan(tmp_path)


@pytest.mark.parametrize("target", [".", "self"])
def test_looping_link_is_refused(target: str, tmp_path: Path) -> None:
    (tmp_path / "self").symlink_to(target)
    with pytest.raises(UsageError, match="self: this link leads"):
        scan(tmp_path)


def test_folder_link_that_leaves_the_checkpoint_is_refused(tmp_path: Path) -> None:
    write(tmp_path, "outside/x")
    (tmp_path / "model").mkdir()
    (tmp_path / "model" / "link").symlink_to(tmp_path / "outside")
    with pytest.raises(UsageError, match="leads to a folder outside the checkpoint"):
        scan(tmp_path / "model")


def test_pipe_is_refused(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    with pytest.raises(UsageError, match="pipe: is neither a file nor a folder"):
        scan(tmp_path)


def test_name_that_is_not_utf8_is_refused(tmp_path: Path) -> None:
    Path(os.fsdecode(os.fsencode(tmp_path) + b"/\xff")).write_bytes(b"")
    with pytest.raises(UsageError, match="name is not UTF-8"):
        scan(tmp_path)


def test_archive_is_refused(tmp_path: Path) -> None:
    path = write(tmp_path, "model.tersor.safetensors")
    for given in (tmp_path, path):
        with pytest.raises(UsageError, match="is a tersor archive already"):
            scan(given)


def test_missing_path_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="no such file or folder"):
        scan(tmp_path / "none")


def test_folders_nested_beyond_the_limit_are_refused(tmp_path: Path) -> None:
    (tmp_path / "/".join(["d"] * 70)).mkdir(parents=True)
    with pytest.raises(UsageError, match="nested more than 64 deep"):
        scan(tmp_path)
