"""A file of torch.save as it was before torch 1.6, without torch: pickles, then the storages of the tensors."""

from __future__ import annotations

from pathlib import Path
from typing import Any, ClassVar

from tersor.sources.extents import Contents, ExtentFile, StructureError, short
from tersor.sources.torch_pickle import LEGACY_MAGIC, SUFFIXES
from tersor.sources.torch_state import StoredTensor, find_tensors, place_tensors, unpickler

_MAGIC_NUMBER = 0x1950A86A20F9469CFC6C
_PROTOCOL = 1001
_LENGTH_BYTES = 8


class TorchStreamFile(ExtentFile):
    """The tensors and storages of a torch file as byte ranges; names as `torch_state.place_tensors` gives them.

    The file: pickles of a magic number, a protocol number, facts of the machine, the state dict, the storages'
    keys; then each storage, its number of elements (u64) in front of it.
    Raises: CorruptError for a pickle that holds anything but dicts and lists of tensors and plain values.
    """

    kind: ClassVar[str] = "torch-stream"

    @classmethod
    def matches(cls, path: Path, head: bytes, n_bytes: int) -> bool:
        """By one of torch's suffixes and the first bytes of the old format."""
        return path.suffix in SUFFIXES and head.startswith(LEGACY_MAGIC)

    def locate(self, data: memoryview) -> Contents:
        """Return where the storages lie, under their tensors' names."""
        pickles = unpickler(data)
        if (pickles.load(), pickles.load()) != (_MAGIC_NUMBER, _PROTOCOL):
            raise StructureError("it does not begin with torch's numbers")
        machine = pickles.load()
        if not isinstance(machine, dict) or machine.get("little_endian") is not True:
            raise StructureError("its numbers are not little-endian")
        tensors = find_tensors(pickles.load())
        return place_tensors(tensors, _storage_extents(data, pickles.load(), pickles.position, tensors))


def _storage_extents(
    data: memoryview, keys: Any, position: int, tensors: dict[str, StoredTensor]
) -> dict[str, tuple[int, int]]:
    """Return where each storage lies. keys: those of all storages, in file order."""
    storages = {tensor.storage.key: tensor.storage for tensor in tensors.values()}
    if not isinstance(keys, list):
        raise StructureError("it has no list of storages")
    extents: dict[str, tuple[int, int]] = {}
    for key in keys:
        storage = storages.get(key) if isinstance(key, str) else None
        if storage is None:
            raise StructureError(f"storage {short(str(key))} belongs to no tensor")
        n_elements = int.from_bytes(data[position : position + _LENGTH_BYTES], "little")
        begin = position + _LENGTH_BYTES
        position = begin + storage.n_bytes
        if n_elements != storage.n_elements or position > len(data) or key in extents:
            raise StructureError(f"storage {short(key)} is cut off, or of another size than its tensors say")
        extents[key] = (begin, position)
    return extents
