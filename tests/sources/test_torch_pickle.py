"""Torch files: tensors through the restricted unpickler, everything else refused."""

from __future__ import annotations

import os
import pickle
import sys
from pathlib import Path

import numpy as np
import pytest
import torch

from tersor.errors import CorruptError, MissingExtraError, NewerFormatError, UnknownNameError
from tersor.sources.torch_pickle import DTYPE_NAMES, TorchFile


def save(path: Path, value: object) -> Path:
    torch.save(value, path)
    return path


def bits(tensor: torch.Tensor) -> bytes:
    return tensor.contiguous().flatten().view(torch.uint8).numpy().tobytes()


@pytest.mark.parametrize("dtype", DTYPE_NAMES)
def test_every_dtype_is_read_with_its_bits(dtype: str, tmp_path: Path) -> None:
    tensor = torch.arange(6).reshape(2, 3).to(getattr(torch, dtype))
    with TorchFile(save(tmp_path / "x.bin", {"a": tensor, "s": tensor[1, 2].clone()})) as file:
        array = file.read("a")
        assert file.spec("a").dtype == DTYPE_NAMES[dtype]
        assert array.dtype == file.spec("a").numpy_dtype
        assert array.shape == (2, 3)
        assert array.tobytes() == bytes(file.raw("a")) == bits(tensor)
        assert not array.flags.writeable
        assert file.raw("a").readonly
        assert file.read("s").shape == ()


def test_strides_views_and_gradients_read_as_plain_arrays(tmp_path: Path) -> None:
    base = torch.arange(12, dtype=torch.float32).reshape(3, 4)
    state = {
        "transposed": base.T,
        "slice": base[1:, ::2],
        "parameter": torch.nn.Parameter(base.clone()),
        "conjugate": torch.tensor([1 + 2j]).conj(),
        "empty": torch.empty(0, 5),
    }
    file = TorchFile(save(tmp_path / "x.pt", state))
    for name, tensor in state.items():
        np.testing.assert_array_equal(file.read(name), tensor.detach().resolve_conj().numpy())
        assert file.read(name).flags.c_contiguous


def test_tied_tensors_are_aliases_and_views_are_not(tmp_path: Path) -> None:
    weight = torch.ones(4, 4)
    state = {
        "embed": weight,
        "head": weight,
        "transposed": weight.T,
        "row": weight[0],
        "copy": weight.clone(),
        "e1": torch.empty(0),
        "e2": torch.empty(0),
    }
    file = TorchFile(save(tmp_path / "x.bin", state))
    assert file.aliases == {"head": "embed"}
    assert [spec.name for spec in file.specs] == list(state)
    np.testing.assert_array_equal(file.read("head"), file.read("embed"))


def test_nested_state_dict_is_found(tmp_path: Path) -> None:
    file = TorchFile(save(tmp_path / "x.ckpt", {"state_dict": {"a": torch.ones(2)}, "epoch": 3}))
    assert [spec.name for spec in file.specs] == ["a"]


def test_format_of_old_torch_is_read(tmp_path: Path) -> None:
    path = tmp_path / "x.bin"
    torch.save({"a": torch.ones(2, 2)}, path, _use_new_zipfile_serialization=False)
    np.testing.assert_array_equal(TorchFile(path).read("a"), np.ones((2, 2), np.float32))


class Malicious:
    def __reduce__(self) -> tuple[object, tuple[str]]:
        return os.mkdir, ("pwned",)


@pytest.mark.parametrize("new_format", [True, False])
def test_code_in_a_pickle_never_runs(
    new_format: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    torch.save({"a": Malicious()}, tmp_path / "x.bin", _use_new_zipfile_serialization=new_format)
    with pytest.raises(CorruptError, match="weights-only loader refuses it"):
        TorchFile(tmp_path / "x.bin")
    assert not (tmp_path / "pwned").exists()


def test_plain_pickle_never_runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "x.bin").write_bytes(pickle.dumps(Malicious()))
    with pytest.raises(CorruptError, match="weights-only loader refuses it"):
        TorchFile(tmp_path / "x.bin")
    assert not (tmp_path / "pwned").exists()


@pytest.mark.parametrize(
    ("value", "message"),
    [
        ([torch.ones(1)], "holds a list, needs a state dict"),
        (torch.ones(1), "holds a Tensor, needs a state dict"),
        ({"a": torch.ones(1), "lr": 0.1}, "entry 'lr' is a float"),
        ({3: torch.ones(1)}, "entry 3 is a Tensor"),
        ({"a": torch.eye(2).to_sparse()}, "'a' is sparse, quantized or without data"),
        ({"a": torch.empty(2, device="meta")}, "'a' is sparse, quantized or without data"),
        ({"a": torch.ones(1).expand(1_000_000)}, "unfolds to 4000000 bytes, more than the file's"),
    ],
)
def test_anything_but_a_dense_state_dict_is_refused(value: object, message: str, tmp_path: Path) -> None:
    with pytest.raises(CorruptError, match=message):
        TorchFile(save(tmp_path / "x.bin", value))


def test_dtype_without_a_name_raises_newer_format(tmp_path: Path) -> None:
    with pytest.raises(NewerFormatError, match=r"'a' has dtype torch\.complex128"):
        TorchFile(save(tmp_path / "x.bin", {"a": torch.ones(1, dtype=torch.complex128)}))


@pytest.mark.parametrize("new_format", [True, False])
def test_truncated_file_is_refused(new_format: bool, tmp_path: Path) -> None:
    whole, path = tmp_path / "whole.bin", tmp_path / "x.bin"
    torch.save({"a": torch.ones(8)}, whole, _use_new_zipfile_serialization=new_format)
    content = whole.read_bytes()
    for length in range(0, len(content), 7):
        path.write_bytes(content[:length])
        with pytest.raises(CorruptError, match=r"x\.bin"):
            TorchFile(path)


def test_without_torch_the_error_says_what_to_install(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = save(tmp_path / "x.bin", {"a": torch.ones(1)})
    monkeypatch.setitem(sys.modules, "torch", None)
    with pytest.raises(MissingExtraError, match=r"pip install 'tersor\[torch\]'"):
        TorchFile(path)


def test_unknown_tensor_names_the_nearest(tmp_path: Path) -> None:
    with pytest.raises(UnknownNameError, match=r"did you mean 'weight'\?"):
        TorchFile(save(tmp_path / "x.bin", {"weight": torch.ones(1)})).read("weigth")
