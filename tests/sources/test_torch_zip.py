"""Torch files as byte ranges: the names that torch.load gives, found without torch and without running anything."""

from __future__ import annotations

import os
import sys
import zipfile
from pathlib import Path

import numpy as np
import pytest
import torch

from sample_files import state_dict, torch_file
from tersor.errors import CorruptError
from tersor.sources.extents import ExtentFile
from tersor.sources.torch_pickle import DTYPE_NAMES, TorchFile
from tersor.sources.torch_stream import TorchStreamFile
from tersor.sources.torch_zip import TorchZipFile

KINDS: list[type[ExtentFile]] = [TorchZipFile, TorchStreamFile]


@pytest.fixture(params=KINDS, ids=["zip", "stream"])
def kind(request: pytest.FixtureRequest) -> type[ExtentFile]:
    return request.param


def opened(kind: type[ExtentFile], state: object, tmp_path: Path) -> ExtentFile:
    path = tmp_path / "x.bin"
    path.write_bytes(torch_file(state, zipped=kind is TorchZipFile))
    return kind(path)


def test_names_and_values_are_those_of_torch(kind: type[ExtentFile], tmp_path: Path) -> None:
    file = opened(kind, state_dict(), tmp_path)
    theirs = TorchFile(tmp_path / "x.bin")
    assert {spec.name: spec for spec in file.specs} == {spec.name: spec for spec in theirs.specs}
    assert file.aliases == theirs.aliases == {"head.weight": "embed.weight"}
    for spec in theirs.specs:
        np.testing.assert_array_equal(file.read(spec.name), theirs.read(spec.name))


@pytest.mark.parametrize("dtype", DTYPE_NAMES)
def test_every_dtype_is_found(dtype: str, kind: type[ExtentFile], tmp_path: Path) -> None:
    tensor = torch.arange(6).reshape(2, 3).to(getattr(torch, dtype))
    file = opened(kind, {"a": tensor}, tmp_path)
    assert file.spec("a").dtype == DTYPE_NAMES[dtype]
    assert file.read("a").tobytes() == tensor.view(torch.uint8).numpy().tobytes()


def test_torch_is_not_needed(kind: type[ExtentFile], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    expected = opened(kind, state_dict(), tmp_path).specs
    monkeypatch.setitem(sys.modules, "torch", None)
    assert kind(tmp_path / "x.bin").specs == expected


def test_module_with_metadata_and_parameters_is_found(kind: type[ExtentFile], tmp_path: Path) -> None:
    layer = torch.nn.Linear(3, 4)
    assert {spec.name for spec in opened(kind, layer.state_dict(), tmp_path).specs} == {"weight", "bias"}
    assert opened(kind, {"p": layer.weight}, tmp_path).spec("p").shape == (4, 3)


def test_nested_values_are_named_by_their_path(kind: type[ExtentFile], tmp_path: Path) -> None:
    state = {
        "state_dict": {"a": torch.ones(2)},
        "optimizer": {"state": {0: {"step": torch.tensor(1.0)}}, "lr": 0.1, "betas": (0.9, 0.99)},
        "history": [torch.ones(3), None, "text", True],
    }
    names = {spec.name for spec in opened(kind, state, tmp_path).specs}
    assert names == {"a", "optimizer.state.0.step", "history.0"}


@pytest.mark.parametrize(
    "state",
    [
        {"a": torch.ones(3, 4).T},
        {"a": torch.arange(6.0)[:4]},
        {"a": torch.arange(6.0)[2:]},
        {"a": torch.ones(3).expand(4, 3)},
        {"a": (base := torch.arange(6.0)), "b": base.reshape(2, 3)},
    ],
)
def test_storage_that_is_more_than_one_tensor_keeps_its_own_name(
    state: object, kind: type[ExtentFile], tmp_path: Path
) -> None:
    file = opened(kind, state, tmp_path)
    (spec,) = file.specs
    assert spec.name.startswith("data/")
    assert (spec.dtype, len(spec.shape)) == ("F32", 1)


class Malicious:
    def __reduce__(self) -> tuple[object, tuple[str]]:
        return os.mkdir, ("pwned",)


@pytest.mark.parametrize(
    ("state", "message"),
    [
        ({"a": Malicious(), "b": torch.ones(1)}, r"names '\w+\.mkdir'"),
        ({"a": torch.eye(2).to_sparse()}, "no state dict needs"),
        ({"a": torch.empty(2, device="meta")}, "no state dict needs"),
        ({"a": torch.ones(2, dtype=torch.complex128)}, "ComplexDoubleStorage"),
        ({"a": 1}, "holds no tensors"),
        (torch.ones(2), "holds no tensors"),
        ({"a.b": torch.ones(1), "a": {"b": torch.ones(2)}}, r"two tensors are called 'a\.b'"),
        ({"data/0": torch.ones(2), "b": torch.ones(4)[1:]}, None),
    ],
)
def test_anything_but_tensors_is_refused_and_never_run(
    state: object,
    message: str | None,
    kind: type[ExtentFile],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.chdir(tmp_path)
    if message is None:
        assert opened(kind, state, tmp_path).specs
    else:
        with pytest.raises(CorruptError, match=message):
            opened(kind, state, tmp_path)
    assert not (tmp_path / "pwned").exists()


def rewritten(source: bytes, path: Path, change: dict[str, bytes | None], compression: int = 0) -> None:
    """Write a zip again with entries changed, or left out (None)."""
    whole = path.with_suffix(".whole")
    whole.write_bytes(source)
    with zipfile.ZipFile(whole) as before, zipfile.ZipFile(path, "w", compression) as after:
        for name in before.namelist():
            content = change.get(name.partition("/")[2], before.read(name))
            if content is not None:
                after.writestr(name, content)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"byteorder": b"big"}, "not little-endian"),
        ({"data.pkl": None}, "holds 0 pickles"),
        ({"data/0": None}, "storage '0' needs 4800 bytes, the file holds 0"),
        ({"data/0": b"short"}, "storage '0' needs 4800 bytes, the file holds 5"),
    ],
)
def test_zip_without_what_the_pickle_needs_is_refused(
    change: dict[str, bytes | None], message: str, tmp_path: Path
) -> None:
    rewritten(torch_file(state_dict()), tmp_path / "x.bin", change)
    with pytest.raises(CorruptError, match=message):
        TorchZipFile(tmp_path / "x.bin")


def test_compressed_zip_is_refused(tmp_path: Path) -> None:
    rewritten(torch_file(state_dict()), tmp_path / "x.bin", {}, zipfile.ZIP_DEFLATED)
    with pytest.raises(CorruptError, match=r"data\.pkl is compressed"):
        TorchZipFile(tmp_path / "x.bin")
