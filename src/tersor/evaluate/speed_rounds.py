"""Who is timed when: every model once a round, in turn, so that what else the machine does meets all of them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal, Protocol

from tersor.errors import UsageError

N_DECODED = 8  # tokens after a prompt that a round generates; their mean is its time
_WARM_UPS = 3
_LOADS = 3


class Process(Protocol):
    """A model that can be asked to load and to run (`SpeedProcess`)."""

    @property
    def facts(self) -> Mapping[str, Any]: ...

    def ask(self, **request: Any) -> Mapping[str, Any]: ...


@dataclass(frozen=True, slots=True)
class Shape:
    """What is timed. forward: a pass over `batch` sequences of `length` tokens. decode: each of the tokens that a
    language model generates after `batch` prompts of `length`."""

    kind: Literal["forward", "decode"]
    batch: int
    length: int

    @property
    def name(self) -> str:
        return f"b{self.batch}_l{self.length}"

    def __str__(self) -> str:
        what = f"batch {self.batch}, {self.length} tokens"
        return what if self.kind == "forward" else f"a token after {what}"


@dataclass(slots=True)
class Times:
    """Seconds of one model: of each load, and of each round by shape. facts: of its process, such as its threads."""

    facts: Mapping[str, Any]
    loads: list[float] = field(default_factory=list)
    runs: dict[Shape, list[float]] = field(default_factory=dict)
    peak_rss_bytes: int = 0
    limit: int = 0
    decodes: bool = False


class Rounds:
    """Times processes in turn. names: of their models, for messages. tell: called with the share that is done."""

    def __init__(self, processes: Sequence[Process], names: Sequence[str], tell: Any) -> None:
        self._processes, self._names, self._tell = processes, names, tell
        self.times = [
            Times(process.facts) for process in processes
        ]  # all are ready before the first is timed

    def load(self) -> None:
        """Load every model three times."""
        for number in range(_LOADS):
            for index in self._turn(number):
                answer = self._processes[index].ask(do="load")
                times = self.times[index]
                times.loads.append(float(answer["seconds"]))
                times.limit, times.decodes = int(answer["limit"]), bool(answer["decodes"])

    def shapes(self, batch_sizes: Sequence[int], lengths: Sequence[int]) -> list[Shape]:
        """Every batch size with every length, and the same for decoding if all models are language models.

        Raises: UsageError if a model takes less.
        """
        decodes = all(times.decodes for times in self.times)
        longest = max(lengths) + (N_DECODED if decodes else 0)
        for name, times in zip(self._names, self.times, strict=True):
            if longest > times.limit:
                more = f" and {N_DECODED} more are generated" if decodes else ""
                raise UsageError(
                    f"{name}: takes {times.limit} tokens at most, --lengths asks for {max(lengths)}{more}"
                )
        kinds: list[Literal["forward", "decode"]] = ["forward", "decode"] if decodes else ["forward"]
        return [Shape(kind, batch, length) for kind in kinds for batch in batch_sizes for length in lengths]

    def run(self, shapes: Sequence[Shape], rounds: int) -> None:
        """Time every shape in `rounds` rounds, after three runs of each model to warm up; then ask for the memory."""
        for place, shape in enumerate(shapes):
            request = {"do": shape.kind, "batch": shape.batch, "length": shape.length}
            for process in self._processes:
                process.ask(**request, times=_WARM_UPS)
            for number in range(rounds):
                self._tell((place + number / rounds) / len(shapes), str(shape))
                for index in self._turn(number):
                    seconds = self._processes[index].ask(**request, times=1)["seconds"]
                    self.times[index].runs.setdefault(shape, []).extend(seconds)
        for process, times in zip(self._processes, self.times, strict=True):
            times.peak_rss_bytes = int(process.ask(do="peak")["peak_rss_bytes"])

    def _turn(self, number: int) -> list[int]:
        """The order of a round: forwards, then backwards."""
        order = list(range(len(self._processes)))
        return order if number % 2 == 0 else order[::-1]
