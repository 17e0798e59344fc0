"""`open_archive(path)`: an archive folder or file as a mapping from tensor names to numpy arrays."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from os import PathLike
from pathlib import Path
from types import MappingProxyType, TracebackType
from typing import Any

import numpy as np

from tersor.archive.batch import read_whole
from tersor.archive.file import ArchiveFile
from tersor.archive.folder import stem_of
from tersor.archive.index import FolderRecord
from tersor.archive.low_rank import LowRankTensor
from tersor.archive.memory import new_arrays
from tersor.archive.places import Place, is_folder, locate, open_files, shown
from tersor.archive.tensor import StoredTensor, new_array
from tersor.errors import CorruptError, ShapeError, UnknownNameError, UsageError
from tersor.layouts.base import matrix_shape
from tersor.layouts.low_rank import Factors
from tersor.registry import did_you_mean
from tersor.types import TensorSpec


class Archive(Mapping[str, np.ndarray]):
    """Tensors by name, decoded when asked for. Use it in a `with`, or call `close`.

    Opening reads headers and indexes only. Reads may run in several threads.
    Tensors of a dtype, layout or codec that only a newer tersor knows raise NewerFormatError when read; those of an
        unknown dtype have no spec and are left out of iteration. So are the parts of low-rank tensors, see `factors`.
    Names: those of the tensors. Where several files of a folder hold one name, the file nearest the top of the
        folder (then the first by path) keeps it, and the others' are `FILE:NAME`, FILE being the archive file's
        path without its ending.
    """

    def __init__(self, path: Path | str, files: list[ArchiveFile]) -> None:
        self.path = path
        self.files = files
        self._places: dict[str, tuple[ArchiveFile, int]] = {}
        self._unknown: dict[str, tuple[ArchiveFile, int]] = {}  # dtype of a newer version
        for file in files:
            for name, number in file.numbers.items():
                if number in file.parts:
                    continue
                places = self._places if number in file.specs else self._unknown
                places[self._free_key(file, name)] = (file, number)
        self.specs: Mapping[str, TensorSpec] = MappingProxyType(
            {key: file.specs[number] for key, (file, number) in self._places.items()}
        )
        self.aliases: Mapping[str, str] = MappingProxyType(self._find_aliases())

    def _free_key(self, file: ArchiveFile, name: str) -> str:
        key = name
        if key in self._places or key in self._unknown:
            key = f"{stem_of(file.name)}:{name}"
        while key in self._places or key in self._unknown:  # a tensor is really called that
            key += "_"
        return key

    def _find_aliases(self) -> dict[str, str]:
        keys = {(id(file), number): key for key, (file, number) in self._places.items()}
        return {
            key: keys[id(file), file.target(number)]
            for key, (file, number) in self._places.items()
            if file.target(number) != number and (id(file), file.target(number)) in keys
        }

    @property
    def primary(self) -> ArchiveFile | None:
        """The file that carries the folder record; None for a lone shard."""
        return next((file for file in self.files if file.index.folder is not None), None)

    @property
    def folder(self) -> FolderRecord | None:
        """What is recorded of the whole folder; None for a lone shard."""
        return None if self.primary is None else self.primary.index.folder

    @property
    def provenance(self) -> dict[str, Any]:
        """What made the archive: versions, recipe, seed, ... (of the primary file)."""
        return (self.primary or self.files[0]).index.provenance_dict()

    def __getitem__(self, name: str) -> np.ndarray:
        return self.read(name)

    def __iter__(self) -> Iterator[str]:
        return iter(self._places)

    def __len__(self) -> int:
        return len(self._places)

    def __contains__(self, name: object) -> bool:
        return name in self._places

    def tensor(self, name: str) -> StoredTensor:
        """Return the stored form of a tensor. Raises UnknownNameError naming the nearest."""
        if name in self._unknown:
            file, number = self._unknown[name]
            file.spec(number)
        if name not in self._places:
            raise UnknownNameError(
                f"{self.path}: no tensor {name!r}{did_you_mean(name, self._places)} "
                f"It holds {len(self)} tensors."
            )
        file, number = self._places[name]
        return file.tensor(number)

    def digest(self, name: str) -> bytes | None:
        """Return the start of the BLAKE3 hash that is recorded of a tensor of `specs`, None if none is."""
        file, number = self._places[name]
        return file.index.tensors[file.target(number)].blake3

    def factors(self, name: str) -> Factors | None:
        """Return the factors of a low-rank tensor, decoded; None if it is stored otherwise. Raises UnknownNameError."""
        tensor = self.tensor(name)
        return tensor.factors() if isinstance(tensor, LowRankTensor) else None

    def read(
        self,
        name: str,
        *,
        rows: slice | None = None,
        columns: slice | None = None,
        out: np.ndarray | None = None,
        threads: int = 1,
    ) -> np.ndarray:
        """Return a tensor, or a rectangle of it; decodes only the blocks that it lies in.

        rows: of the tensor seen as a matrix of prod(shape[:-1]) x shape[-1]; rank 2 or more. step 1 only.
        columns: of its last dimension; rank 1 or more. Negative and open ends as in any slice.
        out: C-contiguous, of exactly the result's shape and dtype; is filled and returned. Undefined after an error.
        threads: blocks decoded at a time.
        Returns the spec's numpy_shape if neither rows nor columns is given; else (rows, columns), rank 1: (columns,).
            bfloat16 and float8 are ml_dtypes' types; types below eight bits are their packed bytes.
        Raises: UnknownNameError, UsageError, ShapeError, CorruptError, NewerFormatError.
        """
        tensor = self.tensor(name)
        spec = tensor.spec
        row_range, column_range, shape = _region(spec, rows, columns)
        if out is None:
            out = new_array(shape, spec, tensor.where)
        else:
            _check_out(out, shape, spec)
        if rows is None and columns is None:
            read_whole([(tensor, out)], threads)
        else:
            matrix = out.reshape(len(row_range), len(column_range))
            tensor.read_into(matrix, row_range, column_range, threads)
        return out

    def read_all(
        self,
        names: Iterable[str] | None = None,
        *,
        out: Mapping[str, np.ndarray] | None = None,
        threads: int = 1,
    ) -> dict[str, np.ndarray]:
        """Return tensors by name, in the order of the names; faster than `read` of one after the other.

        names: which; None: those of `out`, all tensors without it.
        out: an array to be filled for each of the names, as for `read`. Without it a tied tensor is the same array
            under each of its names, and arrays share memory in pieces of about 32 MB, each freed with the last of its
            arrays.
        threads: blocks decoded at a time, of whichever tensors.
        Raises: UnknownNameError, UsageError, ShapeError, CorruptError, NewerFormatError.
        """
        wanted = list(
            dict.fromkeys(out if out is not None else self) if names is None else dict.fromkeys(names)
        )
        if out is not None:
            missing = [name for name in wanted if name not in out]
            if missing:
                raise UsageError(
                    f"{self.path}: out has no array for tensor {missing[0]!r}; give one for each name"
                )
            arrays = {name: out[name] for name in wanted}
            reads = [(self.tensor(name), array) for name, array in arrays.items()]
            for tensor, array in reads:
                _check_out(array, tensor.spec.numpy_shape, tensor.spec)
        else:
            tensors = {name: self.tensor(name) for name in wanted}
            distinct = list(dict.fromkeys(tensors.values()))
            new = dict(zip(distinct, new_arrays([t.spec for t in distinct], str(self.path)), strict=True))
            arrays = {name: new[tensor] for name, tensor in tensors.items()}
            reads = list(new.items())
        read_whole(reads, threads)
        return arrays

    def close(self) -> None:
        """Let go of the files. Arrays that were returned stay valid."""
        for file in self.files:
            file.close()

    def __enter__(self) -> Archive:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


def _region(
    spec: TensorSpec, rows: slice | None, columns: slice | None
) -> tuple[range, range, tuple[int, ...]]:
    """Return rows and columns of the tensor's matrix, and the shape of the result."""
    n_rows, n_columns = matrix_shape(spec)
    rank = len(spec.numpy_shape)
    if (rows is not None and rank < 2) or (columns is not None and rank < 1):
        raise UsageError(
            f"tensor {spec.name!r} has shape {list(spec.numpy_shape)} in memory; rows need rank 2, columns rank 1"
        )
    row_range = _steps_of_one(rows, n_rows, "rows")
    column_range = _steps_of_one(columns, n_columns, "columns")
    if rows is None and columns is None:
        return row_range, column_range, spec.numpy_shape
    sizes = (len(row_range), len(column_range))
    return row_range, column_range, sizes if rank >= 2 else sizes[1:]


def _steps_of_one(part: slice | None, size: int, what: str) -> range:
    chosen = range(size)[part] if part is not None else range(size)
    if chosen.step != 1:
        raise UsageError(f"{what}={part}: needs a step of 1; read the span and slice the result")
    return chosen


def _check_out(out: np.ndarray, shape: tuple[int, ...], spec: TensorSpec) -> None:
    if out.shape != shape or out.dtype != spec.numpy_dtype:
        raise ShapeError(
            f"tensor {spec.name!r}: out is {list(out.shape)} {out.dtype}, "
            f"needs {list(shape)} {spec.numpy_dtype}"
        )
    if not (out.flags.c_contiguous and out.flags.writeable):
        raise ShapeError(f"tensor {spec.name!r}: out must be C-contiguous and writeable")


def open_archive(path: str | PathLike[str], *, base: str | PathLike[str] | None = None) -> Archive:
    """Return the archive in a folder, or in one archive file.

    path: or a URL: http, https, and with the extra `cloud` all that fsspec knows (s3://, gs://, hf://, ...). Opening a
        file then takes one or two requests, reading one for each run of blocks side by side, and nothing else.
        A folder over http is found by model.tersor.safetensors or its shard index.
    base: the model (checkpoint or archive) that the archive was packed against, if it was; None: at the path in the
        environment variable TERSOR_BASE, else where it lay. It is opened when a tensor that needs it is read, and
        UsageError says which is needed if it is missing or another.
    A folder must be whole: all the files that its primary names, with the indexes it names.
    Raises: UsageError (nothing there), CorruptError, NewerFormatError, TransferError, MissingExtraError.
    """
    place = locate(path)
    files = open_files(place)
    try:
        find_bases(files, place, base)
        archive = Archive(place if isinstance(place, Path) else place.shown, files)
        if is_folder(place):
            problems = folder_problems(files)
            if problems:
                raise CorruptError(f"{shown(place)}: {'; '.join(problems)}; fetch the whole folder again")
    except BaseException:
        for file in files:
            file.close()
        raise
    return archive


def find_bases(files: list[ArchiveFile], place: Place, base: str | PathLike[str] | None) -> None:
    """Tell files of deltas where their base is; see `open_archive`."""
    folder = (place if place.is_dir() else place.parent) if isinstance(place, Path) else None
    for file in files:
        file.find_base(None if base is None else Path(base), folder)


def folder_problems(files: list[ArchiveFile]) -> list[str]:
    """Return what is wrong with a folder's set of archive files, by its primary's record."""
    primaries = [file for file in files if file.index.folder is not None]
    if len(primaries) != 1:
        names = ", ".join(file.name for file in primaries) or "none"
        return [f"needs exactly one primary archive file, found {names}"]
    folder = primaries[0].index.folder
    assert folder is not None
    expected = {record.path: record.crc for record in folder.archives}
    present = {file.name: file.crc for file in files if file is not primaries[0]}
    problems = [f"archive file {name} is missing" for name in expected if name not in present]
    problems += [f"archive file {name} does not belong here" for name in present if name not in expected]
    problems += [
        f"archive file {name} is another version: its index has CRC-32C {present[name]:#010x}, needs {crc:#010x}"
        for name, crc in expected.items()
        if name in present and present[name] != crc
    ]
    return problems
