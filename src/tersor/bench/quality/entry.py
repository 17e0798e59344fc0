"""One point of the comparison, as it is measured and as JSON."""

from __future__ import annotations

from dataclasses import dataclass, field
from statistics import mean, stdev
from typing import Any


@dataclass(slots=True)
class Entry:
    """A method or a peer at one size, one value for each seed.

    version: of what made it. equal_to: label of the peer's row whose bytes this one had to meet, "" for others.
    values: of the metric, lower is better. problem: why there is no figure, "" if there is one.
    """

    method: str
    setting: str
    version: str
    equal_to: str = ""
    n_bytes: list[int] = field(default_factory=list)
    values: list[float] = field(default_factory=list)
    seconds: list[float] = field(default_factory=list)
    problem: str = ""

    @property
    def label(self) -> str:
        return f"{self.method} {self.setting}".strip()

    def to_json(self, n_params: int) -> dict[str, Any]:
        """Plain values; stderr: of the mean over the seeds, None for one seed."""
        n_bytes = mean(self.n_bytes)
        return {
            "method": self.method,
            "setting": self.setting,
            "version": self.version,
            "equal_to": self.equal_to or None,
            "n_bytes": round(n_bytes),
            "bits_per_weight": 8 * n_bytes / n_params,
            "value": mean(self.values),
            "stderr": stdev(self.values) / len(self.values) ** 0.5 if len(self.values) > 1 else None,
            "values": self.values,
            "seconds": mean(self.seconds),
        }
