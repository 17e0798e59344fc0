"""Statistics as a folder: the matrices' files, one file of vectors, and a manifest with checksums of all and itself."""

from __future__ import annotations

import json
import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from tersor.archive.crc import crc32c
from tersor.calibrate.statistics import Statistics
from tersor.errors import CorruptError
from tersor.npy import read_npz

FORMAT = 2
MANIFEST = "manifest.json"
VECTORS = "vectors.npz"
_MATRICES = ("factors", "hessians", "row_factors", "output_hessians")
_VECTORS = ("row_weights", "input_scales")
_NUMBERS = ("base_steps", "errors")
_CHECKSUM = "crc32c"


def write_entry(folder: Path, statistics: Statistics) -> None:
    """Complete the folder that `collect` spooled to; files that belong to no statistics are deleted."""
    vectors = {
        f"{kind}/{name}": value for kind in _VECTORS for name, value in getattr(statistics, kind).items()
    }
    np.savez(folder / VECTORS, **vectors)
    matrices = {
        kind: {name: path.name for name, path in getattr(statistics, kind).items()} for kind in _MATRICES
    }
    kept = sorted({VECTORS, *(name for files in matrices.values() for name in files.values())})
    for path in folder.iterdir():
        if path.name not in kept and path.is_file():
            path.unlink()
    manifest = {
        "format": FORMAT,
        "files": {name: fingerprint(folder / name) for name in kept},
        "matrices": matrices,
        "numbers": {kind: dict(getattr(statistics, kind)) for kind in _NUMBERS},
        "provenance": dict(statistics.provenance),
        "notes": list(statistics.notes),
    }
    write_checked_json(folder / MANIFEST, manifest)


def read_entry(folder: Path) -> Statistics:
    """The statistics in a folder, every byte checked. Raises: CorruptError."""
    try:
        manifest = read_checked_json(folder / MANIFEST)
        _check_files(folder, manifest)
        parts: dict[str, Any] = {
            kind: {str(name): folder / _plain_name(file) for name, file in manifest["matrices"][kind].items()}
            for kind in _MATRICES
        }
        parts |= {
            kind: {str(name): float(value) for name, value in manifest["numbers"][kind].items()}
            for kind in _NUMBERS
        }
        parts |= _vectors(folder / VECTORS)
        return Statistics(
            spool=folder,
            provenance=dict(manifest["provenance"]),
            notes=tuple(map(str, manifest["notes"])),
            **parts,
        )
    except (OSError, ValueError, KeyError, TypeError, AttributeError, zipfile.BadZipFile) as exc:
        raise CorruptError(f"{folder.name}: {type(exc).__name__}: {exc}") from exc


def write_checked_json(path: Path, body: Mapping[str, Any]) -> None:
    """Write an object together with a checksum of it."""
    path.write_text(json.dumps({**body, _CHECKSUM: _checksum(body)}), encoding="utf-8")


def read_checked_json(path: Path) -> dict[str, Any]:
    """What `write_checked_json` wrote. Raises: CorruptError if it is another object; OSError; ValueError if no JSON."""
    body = json.loads(path.read_text(encoding="utf-8"))
    if not isinstance(body, dict) or _CHECKSUM not in body:
        raise CorruptError(f"{path.parent.name}/{path.name}: no JSON object with a {_CHECKSUM}")
    expected, found = body.pop(_CHECKSUM), _checksum(body)
    if found != expected:
        raise CorruptError(f"{path.parent.name}/{path.name}: CRC-32C is {found}, was {expected}")
    return body


def _checksum(body: Mapping[str, Any]) -> int:
    """CRC-32C of the canonical text: keys sorted, no spaces."""
    return crc32c(json.dumps(body, sort_keys=True, separators=(",", ":")).encode())


def _check_files(folder: Path, manifest: Mapping[str, Any]) -> None:
    if manifest["format"] != FORMAT:
        raise CorruptError(f"{folder.name}: format {manifest['format']!r}, this version reads {FORMAT}")
    named = {file for files in manifest["matrices"].values() for file in files.values()} | {VECTORS}
    if named - set(manifest["files"]):
        raise CorruptError(f"{folder.name}: {sorted(named - set(manifest['files']))} have no checksum")
    for name, expected in manifest["files"].items():
        found = fingerprint(folder / _plain_name(name))
        if found != expected:
            raise CorruptError(f"{folder.name}/{name}: (bytes, CRC-32C) is {found}, was {expected}")


def fingerprint(path: Path) -> list[int]:
    """[bytes, CRC-32C]"""
    if path.stat().st_size == 0:
        return [0, 0]
    data = np.memmap(path, np.uint8, "r")
    return [len(data), crc32c(data.data)]


def _plain_name(name: str) -> str:
    """A file of the folder itself, whatever the manifest says."""
    if Path(name).name != name or name in ("", ".", ".."):
        raise ValueError(f"{name!r} is no file name")
    return name


def _vectors(path: Path) -> dict[str, dict[str, np.ndarray]]:
    found: dict[str, dict[str, np.ndarray]] = {kind: {} for kind in _VECTORS}
    for key, array in read_npz(path).items():
        kind, _, name = key.partition("/")
        found[kind][name] = array
    return found
