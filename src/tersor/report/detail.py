"""How much of each model a page shows: less where many models share it."""

from __future__ import annotations

from dataclasses import dataclass, replace


@dataclass(frozen=True, slots=True)
class Detail:
    """n_tensors: shown one by one; n_points: of a curve of training; n_roles: lines of a chart by layer, at most 8."""

    n_tensors: int
    n_points: int
    n_roles: int

    def shared_by(self, n_models: int) -> Detail:
        """What each of so many models may have."""
        return replace(self, n_tensors=max(4, self.n_tensors // n_models))


# From the most to the least; n_tensors of all models together.
LEVELS = (
    Detail(2000, 200, 8),
    Detail(1000, 200, 8),
    Detail(600, 150, 8),
    Detail(300, 100, 8),
    Detail(150, 60, 6),
    Detail(75, 40, 4),
    Detail(20, 20, 3),
)
