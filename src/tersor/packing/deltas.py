"""Which tensors are stored against a base: found by name or content, chosen by measured size."""

from __future__ import annotations

import os
from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import numpy as np

from tersor.archive.base_model import BaseModel, digest_of, identity
from tersor.archive.index import BaseRecord
from tersor.archive.limits import MAX_HINT_CHARACTERS
from tersor.layouts import make_layout
from tersor.layouts.base import Context, Dense, matrix_shape
from tersor.layouts.delta import Delta
from tersor.layouts.delta_words import DIFFERENCE, EQUAL, XOR
from tersor.layouts.float_tables import float_context
from tersor.types import TensorSpec

# The choice is made on so many elements of a tensor, rows from all over it; nearly all tensors are smaller.
SAMPLE_ELEMENTS = 1 << 20
_MIN_SUFFIX_PARTS = 2


class Choice(NamedTuple):
    """A kind of delta and the name of the base tensor."""

    kind: int
    name: str


class Deltas:
    """The base of one run of `pack`.

    level, codec: as the tensors themselves are packed, for the comparison.
    Hashes every tensor of the base once.
    """

    def __init__(self, model: BaseModel, level: str, codec: str) -> None:
        self._model, self._level, self._codec = model, level, codec
        self._content = identity(model)
        self._by_digest: dict[tuple[str, tuple[int, ...], bytes], str] = {}
        self._by_suffix: defaultdict[str, list[str]] = defaultdict(list)
        for name, spec in model.specs.items():
            self._by_digest.setdefault((spec.dtype, spec.shape, model.digest(name)), name)
            for suffix in _suffixes(name):
                self._by_suffix[suffix].append(name)

    def record(self, folder: Path) -> BaseRecord:
        """Return what an archive file that will lie in `folder` says of the base."""
        try:
            hint = Path(os.path.relpath(self._model.path.resolve(), folder.resolve())).as_posix()
        except ValueError:  # another drive
            hint = ""
        return BaseRecord(hint if len(hint) <= MAX_HINT_CHARACTERS else "", self._content)

    def choose(self, spec: TensorSpec, array: np.ndarray) -> Choice | None:
        """Return how the tensor is best stored against the base; None if it is smaller by itself."""
        if spec.n_elements == 0:
            return None
        equal = self._equal(spec, array)
        if equal is not None:
            return Choice(EQUAL, equal)
        name = self._namesake(spec)
        if name is None:
            return None
        sample_spec, sample = _sample(spec, array)
        base = _sample(spec, self._model.array(name))[1]
        sizes = {
            kind: self._size(
                sample_spec, Delta(sample, base, kind, None, b"\0" * 16), Context(codec=self._codec)
            )
            for kind in (DIFFERENCE, XOR)
        }
        kind = min(sizes, key=lambda kind: sizes[kind])
        own = self._size(sample_spec, Dense(sample), self._own_context(sample_spec, sample))
        return Choice(kind, name) if sizes[kind] < own else None

    def delta(self, spec: TensorSpec, array: np.ndarray, choice: Choice) -> Delta:
        """Return a tensor as it was chosen to be stored; reads the base tensor."""
        name = None if choice.name == spec.name else choice.name
        base, digest = self._model.array(choice.name), self._model.digest(choice.name)
        return Delta(array, base, choice.kind, name, digest)

    def release(self, choice: Choice) -> None:
        """Let the system drop the pages of a base tensor."""
        self._model.release(choice.name)

    def close(self) -> None:
        self._model.close()

    def _equal(self, spec: TensorSpec, array: np.ndarray) -> str | None:
        digest = digest_of(array)
        same_name = self._model.specs.get(spec.name)
        if same_name == spec and self._model.digest(spec.name) == digest:
            return spec.name
        return self._by_digest.get((spec.dtype, spec.shape, digest))

    def _namesake(self, spec: TensorSpec) -> str | None:
        """Return the base tensor of the same dtype and shape whose name has the longest end in common, if it is one."""
        for suffix in _suffixes(spec.name):
            found = [name for name in self._by_suffix[suffix] if self._fits(spec, name)]
            if spec.name in found:
                return spec.name
            if len(found) == 1:
                return found[0]
            if found:
                return None
        return None

    def _fits(self, spec: TensorSpec, name: str) -> bool:
        other = self._model.specs[name]
        return (other.dtype, other.shape) == (spec.dtype, spec.shape)

    def _own_context(self, spec: TensorSpec, array: np.ndarray) -> Context:
        if self._codec not in ("auto", "rans"):
            return Context(level=self._level, codec=self._codec)
        return float_context(lambda: [(spec, array)], self._level, self._codec)

    def _size(self, spec: TensorSpec, value: Dense | Delta, context: Context) -> int:
        layout = make_layout("dense/1" if isinstance(value, Dense) else "delta/1")
        encoded = layout.encode(spec, value, context)
        return len(encoded.head) + sum(len(job().payload) for job in encoded.blocks)


def _suffixes(name: str) -> Iterator[str]:
    """Yield a name and its ends, longest first: the whole, without its first part, ... down to two parts."""
    parts = name.split(".")
    yield name
    for begin in range(1, len(parts) - _MIN_SUFFIX_PARTS + 1):
        yield ".".join(parts[begin:])


def _sample(spec: TensorSpec, array: np.ndarray) -> tuple[TensorSpec, np.ndarray]:
    """Return at most about SAMPLE_ELEMENTS of a tensor, as a tensor: every n-th row, or the first columns."""
    rows, columns = matrix_shape(spec)
    if rows * columns <= SAMPLE_ELEMENTS:
        return spec, array
    step = max(rows * min(columns, SAMPLE_ELEMENTS) // SAMPLE_ELEMENTS, 1)
    sample = np.ascontiguousarray(array.reshape(rows, columns)[::step, :SAMPLE_ELEMENTS])
    if spec.is_sub_byte:
        return TensorSpec(spec.name, "U8", sample.shape), sample
    return TensorSpec(spec.name, spec.dtype, sample.shape), sample
