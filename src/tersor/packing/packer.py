"""`pack`: a checkpoint, or any folder or file, made smaller without loss of a single byte."""

from __future__ import annotations

import time
from collections.abc import Callable, Collection, Sequence
from contextlib import ExitStack
from os import PathLike
from pathlib import Path
from typing import Any, Literal

from tersor.archive.base_model import open_base_model
from tersor.archive.folder import (
    CONFIG_NAME,
    SHARD_INDEX_NAME,
    TORCH_SHARD_INDEX_NAME,
    add_side_file,
    archive_name,
    nearest_first,
    shard_index_name,
)
from tersor.archive.index import ArchiveRecord, FileRecord, FolderRecord, SideRecord
from tersor.archive.inspect import GGUF, inspect
from tersor.archive.writer import Addition, ArchiveWriter, producer_name
from tersor.codec import CODECS
from tersor.errors import UnknownNameError, UsageError
from tersor.layouts.base import Context, Dense, Sparse
from tersor.layouts.float_tables import float_context
from tersor.layouts.sparse import smaller_float
from tersor.output import OutputFolder
from tersor.packing.deltas import Choice, Deltas
from tersor.packing.parts import (
    Part,
    SourceDigest,
    add_aliases,
    arrays_of,
    groups_of,
    obstacle_of,
    parts_of,
    segments_of,
)
from tersor.process import peak_rss_bytes
from tersor.registry import did_you_mean
from tersor.sources import open_exact
from tersor.sources.base import ExactSource
from tersor.sources.folder import Checkpoint, FileEntry, scan
from tersor.sources.plain import PlainFile

LEVELS = ("fast", "balanced", "max")
AUTO = "auto"
PRIMARY_WITHOUT_FILES = "model.tersor.safetensors"

Progress = Callable[[int, int], None]
Kind = Literal["archive", "side", "changed"]


def pack(
    source: str | PathLike[str],
    output: str | PathLike[str],
    *,
    base: str | PathLike[str] | None = None,
    level: str = "balanced",
    codec: str = AUTO,
    threads: int = 1,
    force: bool = False,
    progress: Progress | None = None,
) -> dict[str, Any]:
    """Write an archive folder from which `unpack` restores every file of `source` byte for byte.

    source: a folder or one file, of any content. Files whose tensors tersor finds (safetensors, torch, GGUF, ONNX,
        .npz, .npy) are stored tensor by tensor, so that `tersor.open` reads the archive, and transformers where it
        reads the original; other large files as bytes; small files that loaders look for by name are copied beside
        the archive files (tersor.sources.roles has the rule).
    base: another model (checkpoint or archive) that this one was made from. Tensors that take less as differences
        from a tensor of the base are stored so, and the archive is then read only where the base is.
    level: "fast" decodes fastest, "balanced" is smaller, "max" smallest and slower both ways.
    codec: "auto", or the one codec to use for everything.
    threads: blocks encoded at a time; the output does not depend on it.
    force: replace an archive that is at `output`. progress: called with (bytes done, bytes in all).
    Returns the JSON of docs/cli.md: input, output (ratio is that of the archive files to the files in them),
        tensors, seconds, peak_rss_bytes, recipe, version; log: what was packed otherwise than its name says.
    Memory: one tensor's pages and a few blocks. Raises: UsageError, OutputError, OutputExistsError.
    """
    started = time.monotonic()
    _check_choice("level", level, LEVELS)
    _check_choice("codec", codec, (AUTO, *CODECS.names()))
    check_threads(threads)
    source, output = Path(source), Path(output)
    inputs = [source] if base is None else [source, Path(base)]
    target = OutputFolder(output, force=force, inputs=inputs)
    checkpoint = scan(source)
    target.needed_bytes = checkpoint.n_bytes
    plan = _plan(checkpoint)
    with ExitStack() as stack:
        deltas = None
        if base is not None:
            deltas = Deltas(open_base_model(Path(base)), level, codec)
            stack.callback(deltas.close)
        job = _Packing(checkpoint, output, deltas, level, codec, threads, progress)
        folder = stack.enter_context(target)
        job.write(folder, plan)
        described = inspect(folder)
    return {
        "input": {"path": str(source), **_only(described["input"], "n_bytes", "n_params")},
        "output": {**described["output"], "path": str(output)},
        "tensors": [{**row, "error": 0.0} for row in described["tensors"]],
        "seconds": time.monotonic() - started,
        "peak_rss_bytes": peak_rss_bytes(),
        "recipe": None,
        "version": producer_name(),
        "log": job.log,
    }


def _only(values: dict[str, Any], *keys: str) -> dict[str, Any]:
    return {key: values[key] for key in keys}


def _check_choice(what: str, value: str, known: tuple[str, ...]) -> None:
    if value not in known:
        raise UnknownNameError(
            f"unknown {what} {value!r}{did_you_mean(value, known)} Known: {', '.join(known)}."
        )


def check_threads(threads: int) -> None:
    if threads < 1:
        raise UsageError(f"threads={threads}: needs 1 or more")


def _plan(checkpoint: Checkpoint) -> dict[FileEntry, Kind]:
    """Return what becomes of each file: into an archive file, copied beside it, or copied with changes.

    config.json is changed where weights of any kind lie beside it (those packed as bytes too, so that
    tersor.hf can say why they do not load), the shard index beside the weights that a loader would take.
    """
    weights = {entry.folder for entry in checkpoint.files if entry.role == "weights"}
    safetensors = {entry.folder for entry in checkpoint.files if entry.name.endswith(".safetensors")}
    names = {entry.relative for entry in checkpoint.files}
    plan: dict[FileEntry, Kind] = {}
    for entry in checkpoint.files:
        is_changed = (entry.folder in weights and entry.name == CONFIG_NAME and entry.role == "side") or (
            entry.folder in weights
            and entry.name == (SHARD_INDEX_NAME if entry.folder in safetensors else TORCH_SHARD_INDEX_NAME)
            and shard_index_name(entry.relative) not in names
        )
        if checkpoint.is_single_file:
            plan[entry] = "archive"
        elif is_changed:
            plan[entry] = "changed"
        else:
            plan[entry] = "side" if entry.role == "side" else "archive"
    return plan


class _Packing:
    """One run of `pack`: writes the archive files one after another, the primary last."""

    def __init__(
        self,
        checkpoint: Checkpoint,
        output: Path,
        deltas: Deltas | None,
        level: str,
        codec: str,
        threads: int,
        progress: Progress | None,
    ) -> None:
        self.log: list[str] = []
        self._checkpoint = checkpoint
        self._output = output
        self._deltas = deltas
        self._level = level
        self._codec = codec
        self._threads = threads
        self._progress = progress
        self._n_total_bytes = 0
        self._n_done_bytes = 0

    def write(self, folder: Path, plan: dict[FileEntry, Kind]) -> None:
        """Fill the output folder."""
        side_files: list[SideRecord] = []
        packed = [entry for entry, kind in plan.items() if kind == "archive"]
        outputs = {archive_name(entry.relative) for entry in packed} | {
            shard_index_name(entry.relative)
            for entry, kind in plan.items()
            if kind == "changed" and entry.name != CONFIG_NAME
        }
        for entry, kind in plan.items():
            if kind == "archive":
                continue
            record = add_side_file(
                entry.path, entry.relative, folder, adapt=kind == "changed", outputs=outputs
            )
            if record is None:
                self.log.append(f"{entry.relative}: is no JSON as its name says; packed as plain bytes")
                packed.append(entry)
            else:
                side_files.append(record)
        self._n_total_bytes = sum(entry.n_bytes for entry in packed)
        names = _archive_names(packed)
        primary = min(packed, key=_primary_rank, default=None)
        archives = [
            ArchiveRecord(names[entry], self._pack_file(entry, folder / names[entry], None))
            for entry in packed
            if entry is not primary
        ]
        whole = FolderRecord(
            is_file=self._checkpoint.is_single_file,
            archives=archives,
            side_files=side_files,
            empty_folders=list(self._checkpoint.empty_folders),
            lossless=True,
        )
        if primary is None:
            with ArchiveWriter(folder / PRIMARY_WITHOUT_FILES, self._context([])) as writer:
                writer.finish([], self._provenance(), whole)
        else:
            self._pack_file(primary, folder / names[primary], whole)

    def _context(self, parts: list[Part], sparse: Collection[str] = ()) -> Context:
        """Return what one archive file's blocks share: pass 1 counts the floats that its tables are made for."""
        if self._codec not in (AUTO, "rans"):
            return Context(level=self._level, codec=self._codec)
        by_name = {part.spec.name: part for part in parts}

        def release(name: str) -> None:
            if name in by_name:  # what was guessed from bytes has no name
                by_name[name].release()

        return float_context(
            lambda: arrays_of(parts, in_blocks=self._level != "max"),
            self._level,
            self._codec,
            self._threads,
            release,
            sparse,
        )

    def _provenance(self, kind: str = "") -> dict[str, Any]:
        """kind: of the source file, recorded where `inspect` cannot count elements without it."""
        made = {"tool": producer_name(), "command": "pack", "level": self._level, "codec": self._codec}
        return {**made, "kind": kind} if kind == GGUF else made

    def _pack_file(self, entry: FileEntry, target: Path, folder: FolderRecord | None) -> int:
        """Write one archive file; return the CRC-32C of its index."""
        target.parent.mkdir(parents=True, exist_ok=True)
        source = self._open(entry)
        with source, SourceDigest(source) as digest:
            parts = parts_of(source)
            chosen = self._choose(parts) if source.kind != "plain" else {}
            sparse = self._choose_sparse([part for part in parts if part.spec.name not in chosen])
            context = self._context([part for part in parts if part.spec.name not in chosen], sparse)
            with ArchiveWriter(target, context, threads=self._threads, find_ties=True) as writer:
                for group in groups_of(parts):
                    writer.add_all([self._addition(part, chosen, sparse) for part in group], self._advance)
                    self._release(group, chosen)
                add_aliases(source, writer)
                segments = segments_of(source, writer)
                self._advance(source.n_bytes - sum(part.spec.n_bytes for part in parts))
                record = FileRecord(entry.relative, source.n_bytes, digest.result(), segments)
                where = (self._output / entry.relative).parent
                base = None if self._deltas is None else self._deltas.record(where)
                return writer.finish([record], self._provenance(source.kind), folder, base)

    def _addition(self, part: Part, chosen: dict[str, Choice], sparse: Collection[str]) -> Addition:
        choice = chosen.get(part.spec.name)
        if part.spec.name in sparse:
            return Addition(part.spec, Sparse(part.read()), part.release)
        if self._deltas is None or choice is None:
            return Addition(part.spec, Dense(part.read()), part.release)
        return Addition(part.spec, self._deltas.delta(part.spec, part.read(), choice), part.release)

    def _release(self, parts: Sequence[Part], chosen: dict[str, Choice]) -> None:
        for part in parts:
            part.release()
            choice = chosen.get(part.spec.name)
            if self._deltas is not None and choice is not None:
                self._deltas.release(choice)

    def _choose(self, parts: list[Part]) -> dict[str, Choice]:
        """Return the tensors that are stored against the base, by name."""
        chosen: dict[str, Choice] = {}
        for part in parts if self._deltas is not None else []:
            assert self._deltas is not None
            choice = self._deltas.choose(part.spec, part.read())
            part.release()
            if choice is not None:
                chosen[part.spec.name] = choice
                self._deltas.release(choice)
        return chosen

    def _choose_sparse(self, parts: list[Part]) -> frozenset[str]:
        """Return the names of the tensors that take less without their zeros."""
        chosen = set()
        for part in parts if self._codec == AUTO else []:
            if isinstance(smaller_float(part.read(), part.spec, self._level), Sparse):
                chosen.add(part.spec.name)
            part.release()
        return frozenset(chosen)

    def _open(self, entry: FileEntry) -> ExactSource:
        """Open a file as tensors if its kind restores exactly and the format can hold it, else as plain bytes."""
        reasons: list[str] = []
        source = open_exact(entry.path, reasons.append)
        obstacle = obstacle_of(source)
        if obstacle:
            source.close()
            source = PlainFile(entry.path)
            reasons.append(obstacle)
        for reason in reasons:
            self.log.append(
                f"{entry.relative}: packed as plain bytes: {reason.removeprefix(f'{entry.path}: ')}"
            )
        return source

    def _advance(self, n_bytes: int) -> None:
        self._n_done_bytes += n_bytes
        if self._progress is not None:
            self._progress(self._n_done_bytes, self._n_total_bytes)


def _archive_names(entries: list[FileEntry]) -> dict[FileEntry, str]:
    """Return each file's archive file; safetensors files choose first, as loaders look for their names."""
    names: dict[FileEntry, str] = {}
    taken: set[str] = set()
    for entry in sorted(entries, key=lambda entry: (not entry.name.endswith(".safetensors"), entry.relative)):
        names[entry] = archive_name(entry.relative, taken)
        taken.add(names[entry].lower())
    return names


def _primary_rank(entry: FileEntry) -> tuple[bool, tuple[int, str]]:
    """Sort key: the model's own weights come first, then what lies nearest the top."""
    return not entry.name.endswith(".safetensors"), nearest_first(entry.relative)
