"""The weights of one model: which files a loader would take, and all their tensors under one roof."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path, PurePosixPath
from types import TracebackType

import numpy as np

from tersor.errors import CorruptError, UsageError
from tersor.sources import Source, open_source
from tersor.sources.base import no_such_tensor
from tersor.sources.folder import Checkpoint, FileEntry
from tersor.types import TensorSpec

MAX_INDEX_BYTES = 100_000_000

# The order in which transformers looks for the weights of a folder.
LOAD_ORDER = (
    "model.safetensors",
    "model.safetensors.index.json",
    "pytorch_model.bin",
    "pytorch_model.bin.index.json",
)


class Weights:
    """Every tensor of one model, whatever the number of files it is split over.

    specs: name -> spec, file by file in name order, each in data order.
    files: the files, in that order; file_of: name -> the relative path of its file.
    aliases: name -> earlier name that is the same memory.
    Raises: see `select` and `tersor.sources.Source`; CorruptError if two files hold the same name, or
        if an index names a tensor that its file lacks.
    """

    def __init__(self, checkpoint: Checkpoint, folder: str = "") -> None:
        self.files, placed = select(checkpoint, folder)
        self.specs: dict[str, TensorSpec] = {}
        self.aliases: dict[str, str] = {}
        self.file_of: dict[str, str] = {}
        self._sources: dict[str, Source] = {}
        for entry in self.files:
            self._add(entry, open_source(entry.path))
        self._check_index(placed)

    def _add(self, entry: FileEntry, source: Source) -> None:
        self._sources[entry.relative] = source
        for spec in source.specs:
            if spec.name in self.specs:
                raise CorruptError(
                    f"{entry.path}: tensor {spec.name!r} is also in {self.file_of[spec.name]}; "
                    "give the folder of one model, or one file of it"
                )
            self.specs[spec.name] = spec
            self.file_of[spec.name] = entry.relative
        self.aliases.update(source.aliases)

    def _check_index(self, placed: dict[str, str]) -> None:
        wrong = [name for name, relative in placed.items() if self.file_of.get(name) != relative]
        if wrong:
            name = wrong[0]
            raise CorruptError(
                f"{placed[name]}: lacks tensor {name!r}, which the index says it holds "
                f"({len(wrong)} such tensors); fetch the checkpoint again"
            )

    def source_of(self, name: str) -> Source:
        """Return the open file that holds a tensor. Raises UnknownNameError naming the nearest."""
        if name not in self.file_of:
            raise no_such_tensor(Path(self.files[0].path).parent, name, self.specs)
        return self._sources[self.file_of[name]]

    def read(self, name: str) -> np.ndarray:
        """Return the tensor, as `Source.read` does."""
        return self.source_of(name).read(name)

    def raw(self, name: str) -> memoryview:
        """Return the tensor's bytes, as `Source.raw` does."""
        return self.source_of(name).raw(name)

    def release(self, name: str) -> None:
        """Let the system drop the tensor's pages, as `Source.release` does."""
        self.source_of(name).release(name)

    def __iter__(self) -> Iterator[TensorSpec]:
        return iter(self.specs.values())

    def __len__(self) -> int:
        return len(self.specs)

    def close(self) -> None:
        """Forget the files. Arrays that were handed out stay valid."""
        for source in self._sources.values():
            source.close()

    def __enter__(self) -> Weights:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


def select(checkpoint: Checkpoint, folder: str = "") -> tuple[tuple[FileEntry, ...], dict[str, str]]:
    """Return the files that hold a model's weights, and what its index says: tensor -> relative path.

    folder: the model's folder inside the checkpoint, "" for the top.
    Rule: the first of LOAD_ORDER that exists, as transformers does; an index stands for its shards.
        Without any of them: all .safetensors files of the folder, else all its torch files.
    Raises: UsageError if there are none; CorruptError for an index that is damaged, points outside the
        folder, or names shards that are not there (all of them are named).
    """
    here = {entry.name: entry for entry in checkpoint.files if entry.folder == folder}
    first = next((name for name in LOAD_ORDER if name in here and not checkpoint.is_single_file), None)
    if first is not None and first.endswith(".json"):
        return _from_index(checkpoint, here[first])
    if first is not None:
        return (here[first],), {}
    weights = [entry for entry in here.values() if entry.role == "weights"]
    chosen = [entry for entry in weights if entry.name.endswith(".safetensors")] or weights
    if not chosen:
        raise UsageError(
            f"{checkpoint.root / folder}: no weights found; needs one of {', '.join(LOAD_ORDER)}, "
            "or any .safetensors or torch file"
        )
    return tuple(chosen), {}


def _from_index(checkpoint: Checkpoint, index: FileEntry) -> tuple[tuple[FileEntry, ...], dict[str, str]]:
    prefix = f"{index.folder}/" if index.folder else ""
    placed = {name: prefix + shard for name, shard in read_index(index.path).items()}
    shards = sorted(set(placed.values()))
    entries = {entry.relative: entry for entry in checkpoint.files}
    missing = [shard for shard in shards if shard not in entries]
    if missing:
        raise CorruptError(
            f"{index.path}: names {len(missing)} of {len(shards)} shards that are not there: "
            f"{', '.join(missing[:20])}; fetch the missing files"
        )
    return tuple(entries[shard] for shard in shards), placed


def read_index(path: Path) -> dict[str, str]:
    """Return the weight_map of a shard index: tensor name -> file name, relative to the index's folder.

    Raises: CorruptError unless it is JSON of at most 100 MB with a non-empty weight_map of strings whose
        file names stay inside the folder.
    """
    try:
        n_bytes = path.stat().st_size
        if n_bytes > MAX_INDEX_BYTES:
            raise CorruptError(f"{path}: {n_bytes} bytes, a shard index may have {MAX_INDEX_BYTES}")
        parsed = json.loads(path.read_bytes().decode("utf-8"))
    except (ValueError, RecursionError) as exc:
        raise CorruptError(f"{path}: not valid JSON ({exc}); fetch the file again") from exc
    except OSError as exc:
        raise UsageError(f"{path}: cannot be read: {exc.strerror}; check its permissions") from exc
    weight_map = parsed.get("weight_map") if isinstance(parsed, dict) else None
    if not isinstance(weight_map, dict) or not weight_map:
        raise CorruptError(f"{path}: has no weight_map of tensor names to file names; fetch the file again")
    for name, shard in weight_map.items():
        if not isinstance(shard, str) or not _stays_inside(shard):
            raise CorruptError(
                f"{path}: weight_map places tensor {name[:200]!r} outside the folder; "
                "needs the name of a file inside it"
            )
    return weight_map


def _stays_inside(name: str) -> bool:
    parts = PurePosixPath(name).parts
    return (
        bool(parts)
        and not name.startswith("/")
        and ".." not in parts
        and PurePosixPath(name).as_posix() == name
    )
