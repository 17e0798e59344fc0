"""The same archive with some tensors replaced: codes that are not touched are coded again, never rounded again."""

from __future__ import annotations

import shutil
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tersor.archive.file import ArchiveFile
from tersor.archive.folder import CONFIG_NAME, add_side_file
from tersor.archive.index import ArchiveRecord, FolderRecord, SideRecord
from tersor.archive.reader import Archive, open_archive
from tersor.archive.writer import ArchiveWriter
from tersor.errors import ShapeError, UnknownNameError, UsageError
from tersor.layouts.base import Context
from tersor.layouts.file_tables import FileCounts
from tersor.pipeline.stored_values import Stored, stored_value
from tersor.registry import did_you_mean
from tersor.types import TensorSpec

LEVEL = "balanced"
_SHARD_INDEX = "model.tersor.safetensors.index.json"


@dataclass(frozen=True, slots=True)
class Changes:
    """What becomes of an archive.

    replacements: by tensor name. added: tensors that it did not hold (a new head), which the primary file takes.
    config: bytes of a new config.json, as the plain model would have it; None: the old one stays.
    provenance: keys that are put over the old ones.
    """

    replacements: Mapping[str, Stored] = field(default_factory=dict)
    added: Mapping[str, tuple[TensorSpec, Stored]] = field(default_factory=dict)
    config: bytes | None = None
    provenance: Mapping[str, Any] = field(default_factory=dict)


def rewrite(source: Path, changes: Changes, output: Path, *, threads: int = 1) -> int:
    """Write the archive in folder `source` into the empty folder `output` with changes; returns its weights' bytes.

    Entropy tables are made anew, so the size follows the new codes. Side files are copied; the history is not.
    Guarantee: a tensor that is not replaced decodes to the same bytes.
    Raises: UnknownNameError for a name that the archive lacks, UsageError, CorruptError.
    """
    with open_archive(source) as archive:
        _check_names(archive, changes)
        primary = archive.primary
        if primary is None:
            raise UsageError(f"{source}: a lone shard; give the folder of the whole archive")
        side_files = _copy_side_files(archive, primary, source, output, changes.config)
        provenance = {**archive.provenance, **changes.provenance}
        records: list[ArchiveRecord] = []
        for file in [file for file in archive.files if file is not primary]:
            crc = _write(file, changes, output / file.name, provenance, None, {}, threads)
            records.append(ArchiveRecord(file.name, crc))
        old = archive.folder
        assert old is not None, "the primary has one"
        folder = FolderRecord(old.is_file, records, side_files, list(old.empty_folders), False)
        _write(primary, changes, output / primary.name, provenance, folder, changes.added, threads)
        return sum((output / file.name).stat().st_size for file in archive.files)


def _check_names(archive: Archive, changes: Changes) -> None:
    names = {name for file in archive.files for name in file.numbers}
    for name in changes.replacements:
        if name not in names:
            raise UnknownNameError(
                f"{archive.path}: no tensor {name!r} to replace{did_you_mean(name, names)}"
            )
    for name in changes.added:
        if name in names:
            raise UsageError(f"{archive.path}: tensor {name!r} is there already; replace it instead")


def _copy_side_files(
    archive: Archive, primary: ArchiveFile, source: Path, output: Path, config: bytes | None
) -> list[SideRecord]:
    """Copy everything beside the archive files; returns their records, config.json's changed if it is new."""
    assert archive.folder is not None, "the primary has one"
    outputs = {file.name for file in archive.files}
    if (source / _SHARD_INDEX).is_file():
        outputs.add(_SHARD_INDEX)
        shutil.copyfile(source / _SHARD_INDEX, output / _SHARD_INDEX)
    records = []
    for record in archive.folder.side_files:
        if record.path == CONFIG_NAME and config is not None:
            records.append(_new_config(config, output, outputs))
            continue
        place = record.path
        if (source / place).is_file():
            (output / place).parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(source / place, output / place)
        records.append(record)
    return records


def _new_config(config: bytes, output: Path, outputs: set[str]) -> SideRecord:
    """Write config.json as archives have it; its record holds the plain one."""
    temporary = output / "config.plain.json"
    temporary.write_bytes(config)
    record = add_side_file(temporary, CONFIG_NAME, output, adapt=True, outputs=outputs)
    temporary.unlink()
    if record is None:
        raise UsageError("the new config.json is no JSON object; a model needs its configuration")
    return record


def _write(
    file: ArchiveFile,
    changes: Changes,
    path: Path,
    provenance: Mapping[str, Any],
    folder: FolderRecord | None,
    added: Mapping[str, tuple[TensorSpec, Stored]],
    threads: int,
) -> int:
    """Write one archive file; returns the CRC-32C of its index. Two walks: tables first, then the tensors."""
    counts = FileCounts()
    for spec, value in _tensors(file, changes, added):
        counts.add(spec, value)
    path.parent.mkdir(parents=True, exist_ok=True)
    context = Context(table_sets=counts.make(LEVEL), level=LEVEL)
    with ArchiveWriter(path, context, threads=threads) as writer:
        for spec, value in _tensors(file, changes, added):
            writer.add(spec, value)
        return writer.finish([], provenance, folder)


def _tensors(
    file: ArchiveFile, changes: Changes, added: Mapping[str, tuple[TensorSpec, Stored]]
) -> Iterator[tuple[TensorSpec, Stored]]:
    """Every tensor of the new file in order; parts of low-rank tensors come with them."""
    for number, stream in enumerate(file.streams):
        if number in file.parts:
            continue
        spec = file.spec(number)
        value = changes.replacements.get(stream.name)
        if value is None:
            value = stored_value(file, number)
        else:
            _check_shape(spec, value)
        yield spec, value
    yield from added.values()


def _check_shape(spec: TensorSpec, value: Stored) -> None:
    array = getattr(value, "array", None)
    if array is not None and array.shape != spec.numpy_shape:
        raise ShapeError(
            f"tensor {spec.name!r}: the replacement has shape {list(array.shape)}, needs {list(spec.numpy_shape)}"
        )
