"""A state dict saved by torch (.bin, .pt, .pth, .ckpt), through torch's restricted unpickler only."""

from __future__ import annotations

import pickle
import struct
import warnings
from collections.abc import Mapping
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np

from tersor.errors import CorruptError, MissingExtraError, NewerFormatError
from tersor.sources.base import no_such_tensor
from tersor.sources.mapped import file_size, read_head
from tersor.types import TensorSpec

if TYPE_CHECKING:
    import torch

SUFFIXES = (".bin", ".pt", ".pth", ".ckpt")
ZIP_MAGIC = b"PK\x03\x04"
LEGACY_MAGIC = b"\x80\x02\x8a\nl\xfc\x9cF\xf9 j\xa8P\x19."  # pickled 0x1950a86a20f9469cfc6c: torch before 1.6

# torch's attribute -> safetensors' name; an attribute that this torch lacks is left out.
DTYPE_NAMES = {
    "bool": "BOOL",
    "uint8": "U8",
    "int8": "I8",
    "float8_e5m2": "F8_E5M2",
    "float8_e4m3fn": "F8_E4M3",
    "float8_e8m0fnu": "F8_E8M0",
    "float8_e4m3fnuz": "F8_E4M3FNUZ",
    "float8_e5m2fnuz": "F8_E5M2FNUZ",
    "int16": "I16",
    "uint16": "U16",
    "float16": "F16",
    "bfloat16": "BF16",
    "int32": "I32",
    "uint32": "U32",
    "float32": "F32",
    "complex64": "C64",
    "float64": "F64",
    "int64": "I64",
    "uint64": "U64",
}

# The unpickler runs the file's opcodes on its own stack, so a damaged file fails in any of these ways.
_LOAD_ERRORS = (
    pickle.UnpicklingError,
    struct.error,
    RuntimeError,
    EOFError,
    ValueError,
    LookupError,
    TypeError,
    AttributeError,
    AssertionError,
    OverflowError,
    MemoryError,
)


class TorchFile:
    """The tensors of a torch state dict: {name: tensor}, or {"state_dict": {name: tensor}, ...}.

    aliases: names that share storage, offset, shape, stride and dtype with an earlier name (tied weights).
    The tensors are memory-mapped where the file allows it (torch >= 1.6 wrote it).
    Raises: MissingExtraError without torch; CorruptError for a pickle that holds anything but tensors:
        such files may run code when loaded, so tersor never does it; a tensor larger than its file.
    """

    kind: ClassVar[str] = "torch"
    exact: ClassVar[bool] = False

    def __init__(self, path: Path | str) -> None:
        self.path = Path(path)
        self.n_bytes = file_size(self.path)
        self._tensors = _find_state_dict(_load(self.path), self.path)
        names = _dtype_names()
        self.specs: tuple[TensorSpec, ...] = tuple(
            _describe(name, tensor, names, self.path, self.n_bytes) for name, tensor in self._tensors.items()
        )
        self.aliases: Mapping[str, str] = _find_aliases(self._tensors)
        self._spec_of = {spec.name: spec for spec in self.specs}

    @classmethod
    def matches(cls, path: Path, head: bytes, n_bytes: int) -> bool:
        """By one of the suffixes and the first bytes of a zip file or of torch's old pickle."""
        return path.suffix in SUFFIXES and head.startswith((ZIP_MAGIC, LEGACY_MAGIC))

    def spec(self, name: str) -> TensorSpec:
        """Return the spec of a tensor. Raises UnknownNameError naming the nearest."""
        if name not in self._spec_of:
            raise no_such_tensor(self.path, name, self._spec_of)
        return self._spec_of[name]

    def read(self, name: str) -> np.ndarray:
        """Return the tensor, read-only; a copy if torch stored it with strides, else a view of the map."""
        import torch

        spec = self.spec(name)
        tensor = self._tensors[name].detach().resolve_conj().resolve_neg().contiguous()
        flat = tensor.flatten().view(torch.uint8).numpy()
        array = flat.view(spec.numpy_dtype).reshape(spec.numpy_shape)
        array.flags.writeable = False
        return array

    def raw(self, name: str) -> memoryview:
        """Return the tensor's bytes, row-major, read-only."""
        return self.read(name).reshape(-1).view(np.uint8).data

    def release(self, name: str) -> None:
        """Check the name; torch owns the map and offers no way to drop pages."""
        self.spec(name)

    def close(self) -> None:
        """Forget the file. Arrays that were handed out stay valid."""
        self._tensors = {}

    def __enter__(self) -> TorchFile:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


def _load(path: Path) -> object:
    try:
        import torch
    except ImportError as exc:
        raise MissingExtraError(
            f"{path}: reading torch files needs torch; run: pip install 'tersor[torch]'"
        ) from exc
    mapped = read_head(path, 4) == ZIP_MAGIC  # the old format cannot be mapped
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", UserWarning)  # about pickle protocols: an error says enough
            return torch.load(path, map_location="cpu", weights_only=True, mmap=mapped)
    except _LOAD_ERRORS as exc:
        reason = str(exc).strip().partition("\n")[0][:200] or type(exc).__name__
        raise CorruptError(
            f"{path}: torch's weights-only loader refuses it: {reason}; it is damaged, or holds Python objects "
            "that could run code; where you trust it, save its state dict as .safetensors"
        ) from exc


def _find_state_dict(loaded: object, path: Path) -> dict[str, torch.Tensor]:
    """Return the {name: tensor} inside what torch.load gave. Raises CorruptError for anything else."""
    import torch

    if isinstance(loaded, dict) and isinstance(loaded.get("state_dict"), dict):
        loaded = loaded["state_dict"]
    if not isinstance(loaded, dict):
        raise CorruptError(f"{path}: holds a {type(loaded).__name__}, needs a state dict {{name: tensor}}")
    for name, value in loaded.items():
        if not isinstance(name, str) or not isinstance(value, torch.Tensor):
            raise CorruptError(
                f"{path}: entry {name!r} is a {type(value).__name__}; needs a state dict of tensors only"
            )
    return loaded


def _dtype_names() -> dict[Any, str]:
    import torch

    return {getattr(torch, key): name for key, name in DTYPE_NAMES.items() if hasattr(torch, key)}


def _describe(
    name: str, tensor: torch.Tensor, names: dict[Any, str], path: Path, n_file_bytes: int
) -> TensorSpec:
    import torch

    if tensor.layout != torch.strided or tensor.is_quantized or tensor.device.type != "cpu":
        raise CorruptError(
            f"{path}: tensor {name!r} is sparse, quantized or without data; needs a dense tensor"
        )
    if tensor.dtype not in names:
        raise NewerFormatError(
            f"{path}: tensor {name!r} has dtype {tensor.dtype}, which safetensors cannot name"
        )
    spec = TensorSpec(name, names[tensor.dtype], tuple(tensor.shape))
    if (
        spec.n_bytes > n_file_bytes
    ):  # stride 0 repeats elements: a small file could ask for any amount of memory
        raise CorruptError(
            f"{path}: tensor {name!r} unfolds to {spec.n_bytes} bytes, more than the file's {n_file_bytes}"
        )
    return spec


def _find_aliases(tensors: dict[str, torch.Tensor]) -> dict[str, str]:
    first: dict[tuple[object, ...], str] = {}
    aliases: dict[str, str] = {}
    for name, tensor in tensors.items():
        if tensor.numel() == 0:
            continue  # all empty tensors share address 0
        key = (
            tensor.data_ptr(),
            tensor.dtype,
            tuple(tensor.shape),
            tensor.stride(),
            tensor.is_conj(),
            tensor.is_neg(),
        )
        if first.setdefault(key, name) != name:
            aliases[name] = first[key]
    return aliases
