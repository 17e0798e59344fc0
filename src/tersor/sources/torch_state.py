"""What a torch pickle says of tensors and storages, read without torch and without running it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from itertools import chain
from math import prod
from typing import Any

from tersor.sources.extents import MAX_TENSORS, Contents, Place, StructureError, short
from tersor.sources.inert_pickle import ORDERED_DICT, Call, InertUnpickler, Name, Persistent
from tersor.types import DTYPES, TensorSpec

MAX_NESTING = 64
MAX_NAMES_LENGTH = 1 << 24

STORAGES = {
    "BoolStorage": "BOOL",
    "ByteStorage": "U8",
    "CharStorage": "I8",
    "ShortStorage": "I16",
    "HalfStorage": "F16",
    "BFloat16Storage": "BF16",
    "IntStorage": "I32",
    "FloatStorage": "F32",
    "ComplexFloatStorage": "C64",
    "DoubleStorage": "F64",
    "LongStorage": "I64",
    "UntypedStorage": "U8",
}
# Element types without a storage class of their own: torch names them beside an untyped storage.
UNTYPED = {
    "float8_e5m2": "F8_E5M2",
    "float8_e4m3fn": "F8_E4M3",
    "float8_e8m0fnu": "F8_E8M0",
    "float8_e4m3fnuz": "F8_E4M3FNUZ",
    "float8_e5m2fnuz": "F8_E5M2FNUZ",
    "uint16": "U16",
    "uint32": "U32",
    "uint64": "U64",
}
_TYPED_TENSOR = ("torch._utils._rebuild_tensor", "torch._utils._rebuild_tensor_v2")
_UNTYPED_TENSOR = "torch._utils._rebuild_tensor_v3"
_PARAMETER = "torch._utils._rebuild_parameter"
_CALLS = frozenset({*_TYPED_TENSOR, _UNTYPED_TENSOR, _PARAMETER, ORDERED_DICT, "torch.Size"})
_STORAGE_NAMES = {f"torch.{name}": dtype for name, dtype in STORAGES.items()} | {
    "torch.storage.UntypedStorage": "U8"
}
_UNTYPED_NAMES = {f"torch.{name}": dtype for name, dtype in UNTYPED.items()}
_NAMES = _CALLS | _STORAGE_NAMES.keys() | _UNTYPED_NAMES.keys()


@dataclass(frozen=True, slots=True)
class Storage:
    """A run of elements that tensors view. key: its name in the file."""

    key: str
    dtype: str
    n_elements: int

    @property
    def n_bytes(self) -> int:
        return self.n_elements * (DTYPES[self.dtype][0] // 8)


@dataclass(frozen=True, slots=True)
class StoredTensor:
    """A tensor as the pickle describes it. is_whole: it is its storage, element for element, in order."""

    storage: Storage
    dtype: str
    shape: tuple[int, ...]
    is_whole: bool


def unpickler(data: memoryview) -> InertUnpickler:
    """Return a reader of pickles that hold nothing but state dicts."""
    return InertUnpickler(data, _NAMES, _CALLS)


def find_tensors(value: Any) -> dict[str, StoredTensor]:
    """Return every tensor inside an unpickled value, by name.

    The name is the path of keys that leads to it, joined by dots; a leading `state_dict` is left out.
    Raises: StructureError if there is none or more than MAX_TENSORS, for nesting deeper than MAX_NESTING, for
        names of more than MAX_NAMES_LENGTH in all, and for two of one name.
    """
    found: dict[str, StoredTensor] = {}
    length = 0
    for path, call in _walk(value, (), set()):
        length += sum(map(len, path)) + len(path)  # a long key that is used often must not fill the memory
        if length > MAX_NAMES_LENGTH or len(found) >= MAX_TENSORS:
            raise StructureError("it holds too many tensors, or their names are too long")
        name = ".".join(path[1:] if path[0] == "state_dict" and len(path) > 1 else path)
        if name in found:
            raise StructureError(f"two tensors are called {short(name)}")
        found[name] = _tensor(call)
    if not found:
        raise StructureError("it holds no tensors")
    return found


def _walk(value: Any, path: tuple[str, ...], seen: set[int]) -> Iterator[tuple[tuple[str, ...], Call]]:
    """Yield the tensors below a value. seen: ids of containers that were entered, so that none is twice."""
    if isinstance(value, Call):
        if value.function != "torch.Size" and path:
            yield path, value
    elif isinstance(value, dict | list | tuple) and id(value) not in seen:
        if len(path) > MAX_NESTING:
            raise StructureError(f"dicts are nested more than {MAX_NESTING} deep")
        seen.add(id(value))
        for key, item in value.items() if isinstance(value, dict) else enumerate(value):
            yield from _walk(item, (*path, str(key)), seen)


def _tensor(call: Call) -> StoredTensor:
    """Return what a call that rebuilds a tensor describes."""
    arguments = call.arguments
    if call.function == _PARAMETER and arguments and isinstance(arguments[0], Call):
        call, arguments = arguments[0], arguments[0].arguments
    if call.function in _TYPED_TENSOR and 4 <= len(arguments) <= 7:
        storage, extra = _storage(arguments[0]), arguments[6:]
        dtype = storage.dtype
    elif call.function == _UNTYPED_TENSOR and 7 <= len(arguments) <= 8:
        storage, extra = _storage(arguments[0]), arguments[7:]
        dtype = _UNTYPED_NAMES.get(arguments[6].name, "") if isinstance(arguments[6], Name) else ""
    else:
        raise StructureError("the pickle rebuilds a tensor in an unusual way")
    if not dtype:
        raise StructureError("a tensor has no known element type")
    offset, shape, strides = arguments[1], _naturals(arguments[2]), _naturals(arguments[3])
    n_bytes = prod(shape) * (DTYPES[dtype][0] // 8)
    is_whole = offset == 0 and not extra and _is_contiguous(shape, strides) and n_bytes == storage.n_bytes
    return StoredTensor(storage, dtype, shape, is_whole)


def _storage(value: Any) -> Storage:
    """Return the storage of ("storage", class, key, location, number of elements), as torch pickles it."""
    parts: Any = value.identifier if isinstance(value, Persistent) else None
    is_known = isinstance(parts, tuple) and len(parts) >= 5 and parts[0] == "storage"
    if not is_known or parts[5:] not in ((), (None,)):  # a sixth part makes it a view of another storage
        raise StructureError("a tensor has no storage that is known")
    kind, key, n_elements = parts[1], parts[2], parts[4]
    dtype = _STORAGE_NAMES.get(kind.name) if isinstance(kind, Name) else None
    if dtype is None or not isinstance(key, str) or not _is_natural(n_elements):
        raise StructureError("a storage has an unknown element type, key or size")
    return Storage(key, dtype, n_elements)


def _is_natural(value: object) -> bool:
    return type(value) is int and 0 <= value < 1 << 48


def _naturals(value: Any) -> tuple[int, ...]:
    if isinstance(value, Call) and value.function == "torch.Size" and len(value.arguments) == 1:
        value = value.arguments[0]
    if not isinstance(value, tuple | list) or len(value) > 64 or not all(map(_is_natural, value)):
        raise StructureError("a tensor's shape or strides are no natural numbers")
    return tuple(value)


def _is_contiguous(shape: tuple[int, ...], strides: tuple[int, ...]) -> bool:
    if len(shape) != len(strides):
        raise StructureError("a tensor has more dimensions than strides, or fewer")
    expected = 1
    for size, stride in zip(reversed(shape), reversed(strides), strict=True):
        if size > 1 and stride != expected:
            return 0 in shape
        expected *= max(size, 1)
    return True


def place_tensors(tensors: Mapping[str, StoredTensor], extents: Mapping[str, tuple[int, int]]) -> Contents:
    """Return where the tensors lie, given where each storage does.

    A storage that its tensors view whole, all with one shape, has the first one's name, the others are aliases.
    Any other is called `data/KEY`, of rank 1, and its tensors are not named: whoever needs all names of a file
    can see by such a name that some are missing.
    Raises: StructureError for a storage that is not in the file or of another size there.
    """
    viewers: dict[str, list[tuple[str, StoredTensor]]] = {}
    for name, tensor in tensors.items():
        viewers.setdefault(tensor.storage.key, []).append((name, tensor))
    places: list[Place] = []
    aliases: dict[str, str] = {}
    for key, views in viewers.items():
        (first, tensor), *others = views
        begin, end = _extent(tensor.storage, extents)
        if any(other.storage != tensor.storage for _, other in others):
            raise StructureError(f"storage {short(key)} is described in two ways")
        if all(view == tensor and view.is_whole for _, view in views):
            places.append(Place(TensorSpec(first, tensor.dtype, tensor.shape), begin, end))
            aliases.update((name, first) for name, _ in others)
        else:
            storage = tensor.storage
            places.append(Place(TensorSpec(f"data/{key}", storage.dtype, (storage.n_elements,)), begin, end))
    _check_distinct(chain(aliases, (place.spec.name for place in places)))
    return Contents(places, aliases)


def _extent(storage: Storage, extents: Mapping[str, tuple[int, int]]) -> tuple[int, int]:
    begin, end = extents.get(storage.key, (0, -1))
    if end - begin != storage.n_bytes:
        raise StructureError(
            f"storage {short(storage.key)} needs {storage.n_bytes} bytes, the file holds {max(end - begin, 0)}"
        )
    return begin, end


def _check_distinct(names: Iterator[str]) -> None:
    seen: set[str] = set()
    for name in names:
        if name in seen:
            raise StructureError(f"two tensors are called {short(name)}")
        seen.add(name)
