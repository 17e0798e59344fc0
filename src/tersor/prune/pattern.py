"""n:m patterns: of every m neighbouring columns n are kept."""

from __future__ import annotations

import re
from dataclasses import dataclass

from tersor.errors import ShapeError, UsageError

MAX_RUN = 64
_PATTERN = re.compile(r"([1-9]\d?):([1-9]\d?)", re.ASCII)


@dataclass(frozen=True, slots=True)
class Pattern:
    """n_kept of every `run` columns of a row are kept."""

    n_kept: int
    run: int

    @classmethod
    def parse(cls, text: str) -> Pattern:
        """Return the pattern of "n:m", 1 <= n < m <= 64: n kept of every m, as in NVIDIA's 2:4. Raises: UsageError."""
        found = _PATTERN.fullmatch(text)
        pattern = cls(int(found[1]), int(found[2])) if found else cls(1, 1)
        if not 1 <= pattern.n_kept < pattern.run <= MAX_RUN:
            raise UsageError(
                f'pattern {text!r}: needs "n:m", n kept of every m columns, 1 <= n < m <= {MAX_RUN}; '
                'for example "2:4"'
            )
        return pattern

    @property
    def sparsity(self) -> float:
        """Share of the weights that is removed."""
        return 1.0 - self.n_kept / self.run

    def check_columns(self, columns: int) -> None:
        """Raise ShapeError unless columns is a multiple of the run."""
        if columns % self.run:
            raise ShapeError(
                f"columns={columns} is not a multiple of {self.run}, as pattern {self} needs; "
                "use a sparsity without a pattern, or do not prune this tensor"
            )

    def __str__(self) -> str:
        return f"{self.n_kept}:{self.run}"
