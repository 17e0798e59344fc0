"""Which kind of source a file is opened as; plain files."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from safetensors.numpy import save_file

from tersor.errors import CorruptError, UnknownNameError, UsageError
from tersor.sources import SOURCES, open_exact, open_source, source_kind
from tersor.sources.plain import PlainFile


def test_safetensors_is_known_by_its_suffix_and_by_its_first_bytes(tmp_path: Path) -> None:
    save_file({"a": np.ones(3)}, tmp_path / "x.safetensors")
    (tmp_path / "blob").write_bytes((tmp_path / "x.safetensors").read_bytes())
    assert source_kind(tmp_path / "x.safetensors") == "safetensors"
    assert open_source(tmp_path / "blob").kind == "safetensors"


@pytest.mark.parametrize(
    ("name", "content", "kind"),
    [
        ("x.bin", b"PK\x03\x04rest", "torch"),
        ("x.bin", b"\x80\x02\x8a\nl\xfc\x9cF\xf9 j\xa8P\x19.", "torch"),
        ("x.bin", b"other weights", "plain"),
        ("x.zip", b"PK\x03\x04rest", "plain"),
        ("x.txt", b"", "plain"),
        ("x.safetensors", b"", "safetensors"),
    ],
)
def test_kind_follows_name_and_first_bytes(name: str, content: bytes, kind: str, tmp_path: Path) -> None:
    (tmp_path / name).write_bytes(content)
    assert source_kind(tmp_path / name) == kind


def test_damaged_file_is_an_error_to_open_and_plain_bytes_to_pack(tmp_path: Path) -> None:
    path = tmp_path / "x.safetensors"
    path.write_bytes(b"noise")
    with pytest.raises(CorruptError, match=r"x\.safetensors"):
        open_source(path)
    assert open_exact(path).kind == "plain"


def test_exact_source_restores_every_kind_of_file(tmp_path: Path) -> None:
    save_file({"a": np.ones(3), "b": np.zeros((2, 2))}, tmp_path / "x.safetensors")
    (tmp_path / "y.bin").write_bytes(b"PK\x03\x04 claims to be torch's")
    (tmp_path / "empty").write_bytes(b"")
    for path, kind in zip(sorted(tmp_path.iterdir()), ["plain", "safetensors", "plain"], strict=True):
        source = open_exact(path)
        assert (source.kind, source.exact, source.n_bytes) == (kind, True, path.stat().st_size)
        assert b"".join(source.segment_bytes(part) for part in source.segments()) == path.read_bytes()


def test_missing_file_raises_usage_from_every_source(tmp_path: Path) -> None:
    for name in SOURCES.names():
        with pytest.raises(UsageError, match="cannot be read"):
            SOURCES.get(name)(tmp_path / "none")
    with pytest.raises(UsageError, match="cannot be read"):
        open_source(tmp_path / "none")


def test_pipe_and_folder_raise_usage_and_never_block(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "folder").mkdir()
    for path in (tmp_path / "pipe", tmp_path / "folder"):
        with pytest.raises(UsageError, match="no regular file"):
            open_source(path)
        for name in SOURCES.names():
            with pytest.raises(UsageError, match="no regular file"):
                SOURCES.get(name)(path)


@given(st.binary(max_size=300))
def test_plain_file_is_one_byte_tensor_named_by_the_file(
    tmp_path_factory: pytest.TempPathFactory, content: bytes
) -> None:
    path = tmp_path_factory.mktemp("plain") / "noise.dat"
    path.write_bytes(content)
    with PlainFile(path) as file:
        (spec,) = file.specs
        assert (spec.name, spec.dtype, spec.shape) == ("noise.dat", "U8", (len(content),))
        file.release("noise.dat")
        assert file.read("noise.dat").tobytes() == bytes(file.raw("noise.dat")) == content
        assert not file.read("noise.dat").flags.writeable


def test_plain_file_has_no_other_tensor(tmp_path: Path) -> None:
    (tmp_path / "a").write_bytes(b"x")
    with pytest.raises(UnknownNameError, match="no tensor 'b'"):
        PlainFile(tmp_path / "a").read("b")
