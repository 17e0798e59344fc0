"""Who takes part in a measurement, and what was measured of them."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from statistics import median
from typing import Any

from tersor.bench.peers import PEERS
from tersor.bench.peers.base import OPERATIONS

OWN = "tersor"


@dataclass(slots=True)
class Contestant:
    """One row of the table: a coder under certain settings.

    isa: the instruction set that tersor is told to use, "" for its own choice. variant: what its environment is
    called, "" if that is as usual. seconds: of each run, by operation. problem: why it has no figures, "" if it has.
    """

    coder: str
    threads: int
    level: str = ""
    isa: str = ""
    variant: str = ""
    environment: Mapping[str, str] = field(default_factory=dict)
    version: str = ""
    n_bytes: int = 0
    seconds: dict[str, list[float]] = field(default_factory=dict)
    problem: str = ""

    @property
    def label(self) -> str:
        """The coder with its level and variant."""
        words = f"{self.coder} {self.level}".strip()
        return f"{words}, {self.variant}" if self.variant else words

    def to_json(self, n_original: int) -> dict[str, Any]:
        """Return the row; speeds are GB of the original a second, None where the coder has no such operation."""
        return {
            "coder": self.label,
            "level": self.level or None,
            "isa": self.isa or None,
            "threads": self.threads,
            "version": self.version or None,
            "n_bytes": self.n_bytes,
            "ratio": self.n_bytes / n_original,
            **{f"{name}_gb_s": speed(self.seconds.get(name, []), n_original) for name in OPERATIONS},
            "seconds": self.seconds,
        }


def speed(seconds: Sequence[float], n_bytes: int) -> float | None:
    """Return GB/s of the median, or None without a measurement."""
    return n_bytes / 1e9 / median(seconds) if seconds else None


def contestants(
    names: Sequence[str], levels: Sequence[str], threads: Sequence[int], isas: Sequence[str]
) -> Iterator[Contestant]:
    """Yield all that take part. names: of PEERS; threads: ascending; isas: best first.

    More threads than threads[0] are for coders that use them, and of tersor for its best instruction set.
    """
    for name in names:
        peer = PEERS.get(name)
        for n_threads in threads if peer.threaded else threads[:1]:
            if name == OWN:
                yield from _own(levels, n_threads, isas if n_threads == threads[0] else isas[:1])
            else:
                for variant, environment in peer.environments.items():
                    yield Contestant(name, n_threads, variant=variant, environment=environment)


def _own(levels: Sequence[str], threads: int, isas: Sequence[str]) -> Iterator[Contestant]:
    for level in levels:
        for isa in isas:
            yield Contestant(OWN, threads, level, isa, environment={"TERSOR_ISA": isa} if isa else {})
