"""Finds the base of an archive file of deltas when it is first needed, and lets only the right one through."""

from __future__ import annotations

import os
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from tersor.archive.index import BaseRecord
from tersor.errors import UsageError
from tersor.layouts.base import BaseReader
from tersor.layouts.delta import DeltaMeta
from tersor.types import TensorSpec

if TYPE_CHECKING:
    from tersor.archive.base_model import BaseModel

ENVIRONMENT = "TERSOR_BASE"


class Base:
    """The base that a file names: at `given`, else at $TERSOR_BASE, else where the file says.

    folder: that of the archive file, from which its hint leads; None behind a URL. Nothing is opened before `tensor`.
    """

    def __init__(self, record: BaseRecord, where: str, given: Path | None, folder: Path | None) -> None:
        self._record, self._where = record, where
        environment = os.environ.get(ENVIRONMENT)
        self._is_hint = given is None and not environment
        self._path = given or (Path(environment) if environment else _hinted(record, folder))
        self._model: BaseModel | None = None
        self._proven: set[str] = set()

    def open(self) -> BaseModel:
        """Return the opened base. Raises UsageError that says which is needed, and what opening it raises."""
        from tersor.archive.base_model import open_base_model  # it imports the reader, which imports this

        if self._model is None:
            if self._path is None or not self._path.exists():
                place = "gives no path to it" if self._path is None else f"it is not at {self._path}"
                raise UsageError(f"{self._needs()}; {place}; {self._remedy()}")
            self._model = open_base_model(self._path)
        return self._model

    def reader(self, spec: TensorSpec, meta: DeltaMeta, digest: bytes) -> BaseReader:
        """Return what reads the base tensor of `spec`, found by name and proven by its hash.

        Raises: UsageError if the base lacks such a tensor, or holds another than the archive was made with.
        """
        model, name = self.open(), spec.name if meta.base_name is None else meta.base_name
        found = model.specs.get(name)
        if found is None or (found.dtype, found.shape) != (spec.dtype, spec.shape):
            what = "nothing" if found is None else f"{found.dtype} {list(found.shape)}"
            raise self._wrong(
                model, f"tensor {name!r} is {what} there, needs {spec.dtype} {list(spec.shape)}"
            )
        key = name
        if key not in self._proven:
            expected, got = digest[:16], model.digest(name)
            if got != expected:
                raise self._wrong(model, f"BLAKE3 of tensor {name!r} is {got.hex()}, needs {expected.hex()}")
            self._proven.add(key)
        return partial(model.rectangle, name)

    def close(self) -> None:
        if self._model is not None:
            self._model.close()
            self._model = None
            self._proven.clear()

    def _needs(self) -> str:
        return (
            f"{self._where}: is stored as differences from a base, content hash {self._record.content.hex()}"
        )

    def _wrong(self, model: BaseModel, what: str) -> UsageError:
        return UsageError(f"{self._needs()}; {model.path} is not that base: {what}; {self._remedy()}")

    def _remedy(self) -> str:
        return f"give it with --base PATH (in Python base=PATH) or {ENVIRONMENT}=PATH"


def _hinted(record: BaseRecord, folder: Path | None) -> Path | None:
    if folder is None or not record.hint:
        return None
    return Path(os.path.normpath(folder / record.hint))
