"""A file of torch.save (since torch 1.6), without torch: a zip of a pickle and the storages of its tensors."""

from __future__ import annotations

from pathlib import Path
from typing import ClassVar

from tersor.sources.extents import Contents, ExtentFile, StructureError
from tersor.sources.torch_pickle import SUFFIXES, ZIP_MAGIC
from tersor.sources.torch_state import find_tensors, place_tensors, unpickler
from tersor.sources.zip_entries import ZipEntry, read_entries

_PICKLE = "/data.pkl"
_STORAGES = "data/"


class TorchZipFile(ExtentFile):
    """The tensors and storages of a torch file as byte ranges; names as `torch_state.place_tensors` gives them.

    Raises: CorruptError for a pickle that holds anything but dicts and lists of tensors and plain values.
    """

    kind: ClassVar[str] = "torch-zip"

    @classmethod
    def matches(cls, path: Path, head: bytes, n_bytes: int) -> bool:
        """By one of torch's suffixes and the first bytes of a zip file."""
        return path.suffix in SUFFIXES and head.startswith(ZIP_MAGIC)

    def locate(self, data: memoryview) -> Contents:
        """Return where the storages lie, under their tensors' names."""
        entries = {entry.name: entry for entry in read_entries(data)}
        folder = _folder(list(entries))
        pickled = _stored(entries, folder + "data.pkl")
        order = entries.get(folder + "byteorder")
        if order is not None and bytes(data[order.begin : order.end]) != b"little":
            raise StructureError("its numbers are not little-endian")
        tensors = find_tensors(unpickler(data[pickled.begin : pickled.end]).load())
        prefix = folder + _STORAGES
        extents = {
            name[len(prefix) :]: (entry.begin, entry.end)
            for name, entry in entries.items()
            if name.startswith(prefix) and entry.is_stored
        }
        return place_tensors(tensors, extents)


def _folder(names: list[str]) -> str:
    """Return the folder that holds everything, with its slash: torch names it as the file."""
    found = [name.removesuffix("data.pkl") for name in names if name.endswith(_PICKLE)]
    if len(found) != 1:
        raise StructureError(f"the zip holds {len(found)} pickles called data.pkl, needs one")
    return found[0]


def _stored(entries: dict[str, ZipEntry], name: str) -> ZipEntry:
    if not entries[name].is_stored:
        raise StructureError(f"{name} is compressed")
    return entries[name]
