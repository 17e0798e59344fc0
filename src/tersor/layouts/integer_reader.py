"""Integers and bytes from the side of a payload: what a grid's heads and blocks begin with."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from tersor import _core
from tersor.errors import CorruptError

Ints = npt.NDArray[np.int32]


class IntegerReader:
    """Reads integers and bytes from a payload, naming where it is when something is missing."""

    def __init__(self, payload: memoryview, side: _core.TableSet, where: str) -> None:
        self._bytes = np.frombuffer(payload, np.uint8)
        self._side, self._where = side, where

    def integers(self, n: int, table: int, limits: tuple[int, int]) -> Ints:
        values = np.empty(n, np.int32)
        with At(self._where):
            used = _core.decode_integers(self._bytes, self._side, table, *limits, values)
        self._bytes = self._bytes[used:]
        return values

    def bytes(self, n: int) -> bytes:
        if len(self._bytes) < n:
            raise CorruptError(
                f"{self._where}: {len(self._bytes)} bytes left, needs {n}; the file is damaged"
            )
        taken, self._bytes = self._bytes[:n], self._bytes[n:]
        return taken.tobytes()

    def rest(self) -> npt.NDArray[np.uint8]:
        return self._bytes

    def expect_end(self) -> None:
        if len(self._bytes):
            raise CorruptError(f"{self._where}: {len(self._bytes)} bytes left over; the file is damaged")


class At:
    """Adds the place to a CorruptError from the compiled coder."""

    def __init__(self, where: str) -> None:
        self._where = where

    def __enter__(self) -> None:
        pass

    def __exit__(self, kind: object, error: BaseException | None, trace: object) -> None:
        if isinstance(error, CorruptError):
            raise CorruptError(f"{self._where}: {error}; the file is damaged") from error
