"""Level max: the models of a file's float tensors and the histograms that its tables are made from."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from contextlib import ExitStack
from functools import partial
from types import TracebackType
from typing import Any

import numpy as np
import numpy.typing as npt

from tersor import _core
from tersor.layouts import float_max
from tersor.layouts.base import matrix_shape
from tersor.layouts.float_max import Words
from tersor.layouts.float_words import UNITS, WORD_FORMAT
from tersor.layouts.tables import Counts
from tersor.types import TensorSpec

REFINE_REACH = 2  # how far a row's class is moved to where the tables of the round before make it cheapest
MAX_SAMPLE_ELEMENTS = 1 << 22  # of a tensor that are counted
MIN_COLUMNS = 8  # shorter rows, of convolutions, are not worth a class each

Pause = Callable[[], None]
_Looked = tuple[str, _core.FloatModel, Counts]


class FloatModels:
    """Collects models and counts; use it in a `with` if there are several threads.

    threads: tensors looked at at a time; what comes out does not depend on it.
    models: by name of the tensor. counts: of the symbols, (tables, symbols), as of the last look. Both after `finish`.
    """

    def __init__(self, threads: int = 1) -> None:
        self.models: dict[str, _core.FloatModel] = {}
        self.counts = _no_counts()
        self._stack = ExitStack()
        self._threads = threads
        self._pool = self._stack.enter_context(ThreadPoolExecutor(threads)) if threads > 1 else None
        self._running: set[Future[_Looked]] = set()

    def suits(self, spec: TensorSpec) -> bool:
        """Whether a tensor of floats is worth a model. Only the first of a name gets one."""
        rows, columns = matrix_shape(spec)
        return rows > 1 and columns >= MIN_COLUMNS and spec.name not in self.models

    def fit(self, spec: TensorSpec, array: npt.NDArray[Any], pause: Pause | None = None) -> None:
        """Make a tensor's model and count it. pause: called whenever a few MB of it have been read."""
        self._start(partial(_fit, spec, _words_of(spec, array), pause))

    def refine(
        self,
        spec: TensorSpec,
        array: npt.NDArray[Any],
        costs: npt.NDArray[np.float32],
        pause: Pause | None = None,
    ) -> None:
        """Move the row classes of a tensor with a model to where they cost least, and count it afresh."""
        model = self.models.get(spec.name)
        if model is not None and array.size:
            self._start(partial(_refine, spec, _words_of(spec, array), costs, model, pause))

    def begin_refinement(self) -> npt.NDArray[np.float32]:
        """Return the costs of the symbols counted so far, and start counting anew."""
        self.finish()
        costs = float_max.costs_of(self.counts)
        self.counts = _no_counts()
        return costs

    def finish(self) -> None:
        """Wait for all tensors."""
        self._keep_those(wait(self._running).done)

    def _start(self, look: Callable[[], _Looked]) -> None:
        if self._pool is None:
            self._keep(look())
            return
        self._running.add(self._pool.submit(look))
        if len(self._running) > self._threads:
            # Whichever is done first: one embedding may take as long as all layers. Counts add up in any order.
            self._keep_those(wait(self._running, return_when=FIRST_COMPLETED).done)

    def _keep_those(self, done: set[Future[_Looked]]) -> None:
        self._running -= done
        for future in done:
            self._keep(future.result())

    def _keep(self, looked: _Looked) -> None:
        name, model, counts = looked
        self.models[name] = model
        self.counts += counts

    def __enter__(self) -> FloatModels:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for future in self._running:
            future.cancel()
        self._stack.close()


def _no_counts() -> Counts:
    return np.zeros((float_max.N_TABLES, float_max.SYMBOLS), np.uint64)


def _words_of(spec: TensorSpec, array: npt.NDArray[Any]) -> Words:
    return float_max.word_matrix(spec.dtype, array.reshape(matrix_shape(spec)))


def _fit(spec: TensorSpec, words: Words, pause: Pause | None) -> _Looked:
    model = _core.fit_float_model(words, WORD_FORMAT[UNITS[spec.dtype]], pause)
    return _count(spec, words, model, pause)


def _refine(
    spec: TensorSpec,
    words: Words,
    costs: npt.NDArray[np.float32],
    model: _core.FloatModel,
    pause: Pause | None,
) -> _Looked:
    _core.refine_row_classes(words, WORD_FORMAT[UNITS[spec.dtype]], costs, REFINE_REACH, model, pause)
    return _count(spec, words, model, pause)


def _count(spec: TensorSpec, words: Words, model: _core.FloatModel, pause: Pause | None) -> _Looked:
    counts = _no_counts()
    stride = max(words.size // MAX_SAMPLE_ELEMENTS, 1)
    _core.count_float_max(words, WORD_FORMAT[UNITS[spec.dtype]], model, stride, counts, pause)
    return spec.name, model, counts
