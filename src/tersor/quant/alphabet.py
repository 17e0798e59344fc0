"""Alphabets: the levels that codes of a fixed width stand for, and the nearest of them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

import numpy as np

from tersor.errors import UsageError


class Alphabet(Protocol):
    """A finite set of levels, numbered by codes that grow with the level."""

    @property
    def n_codes(self) -> int: ...

    @property
    def lowest_code(self) -> int: ...

    @property
    def highest(self) -> float:
        """The largest level."""
        ...

    @property
    def codebook(self) -> np.ndarray | None:
        """float32 levels by code, or None: the level of a code is the code."""
        ...

    def nearest(self, values: np.ndarray) -> np.ndarray:
        """Codes (int32, same shape) of the levels nearest to float32 values; beyond the ends, of the end."""
        ...

    def levels(self, codes: np.ndarray) -> np.ndarray:
        """float32 levels of codes."""
        ...


@dataclass(frozen=True, slots=True)
class Integers:
    """The integers low .. high, each its own code."""

    low: int
    high: int

    @property
    def n_codes(self) -> int:
        return self.high - self.low + 1

    @property
    def lowest_code(self) -> int:
        return self.low

    @property
    def highest(self) -> float:
        return float(self.high)

    @property
    def codebook(self) -> None:
        return None

    def nearest(self, values: np.ndarray) -> np.ndarray:
        rounded = np.rint(values)
        return np.asarray(np.clip(rounded, self.low, self.high, out=rounded), np.int32)

    def levels(self, codes: np.ndarray) -> np.ndarray:
        return codes.astype(np.float32)


@dataclass(frozen=True, slots=True, eq=False)
class Levels:
    """Any float32 levels (n,), n >= 2, strictly increasing; the code is the position."""

    values: np.ndarray

    def __post_init__(self) -> None:
        if len(self.values) < 2 or not (np.diff(self.values) > 0).all():
            raise UsageError(f"levels must be at least two and increase strictly, got {self.values.tolist()}")

    @property
    def n_codes(self) -> int:
        return len(self.values)

    @property
    def lowest_code(self) -> int:
        return 0

    @property
    def highest(self) -> float:
        return float(self.values[-1])

    @property
    def codebook(self) -> np.ndarray:
        return self.values

    def nearest(self, values: np.ndarray) -> np.ndarray:
        middles = np.float32(0.5) * self.values[1:] + np.float32(0.5) * self.values[:-1]
        return np.searchsorted(middles, values).astype(np.int32)

    def levels(self, codes: np.ndarray) -> np.ndarray:
        return np.asarray(self.values[codes])


@dataclass(frozen=True, slots=True)
class Signs:
    """The integers -1 and 1; zero is rounded up."""

    @property
    def n_codes(self) -> int:
        return 2

    @property
    def lowest_code(self) -> int:
        return -1

    @property
    def highest(self) -> float:
        return 1.0

    @property
    def codebook(self) -> None:
        return None

    def nearest(self, values: np.ndarray) -> np.ndarray:
        return np.where(values < 0, np.int32(-1), np.int32(1))

    def levels(self, codes: np.ndarray) -> np.ndarray:
        return codes.astype(np.float32)
