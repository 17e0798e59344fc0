"""How long one run of the result may take: 0.8x of the original's time, 12ms."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Literal

from tersor.errors import UsageError

LATENCY_FORMS = "0.8x (of the original's time on this machine), 12ms or 0.5s"

_SECONDS = {"us": 1e-6, "ms": 1e-3, "s": 1.0}
_NUMBER_UNIT = re.compile(r"(\d{1,9}(?:\.\d{0,18})?|\.\d{1,18}) ?([A-Za-z%]*)", re.ASCII)


@dataclass(frozen=True, slots=True)
class LatencyLimit:
    """The longest time allowed. unit "x": `amount` is a share of the original's, in (0, 1]; "s": seconds, > 0."""

    amount: float
    unit: Literal["x", "s"]
    text: str

    def seconds(self, original_seconds: float) -> float:
        """The limit in seconds, for an original that takes so long."""
        return self.amount * original_seconds if self.unit == "x" else self.amount


def parse_latency(text: str) -> LatencyLimit:
    """Return the limit that `text` names: 0.8x, 12ms, 0.5s.

    Raises: UsageError, which says how to write what was probably meant.
    """
    stripped = text.strip()
    match = _NUMBER_UNIT.fullmatch(stripped)
    if match is None:
        why = "it must be above 0" if stripped.startswith("-") else "it must be a number and a unit"
        raise _latency_error(text, why)
    amount, unit = float(match[1]), match[2]
    if amount == 0:
        raise _latency_error(text, "it must be above 0")
    if unit == "x":
        if amount > 1:
            raise _latency_error(
                text, f"longer than the original; for {match[1]} times faster write {1 / amount:.4g}x"
            )
        return LatencyLimit(amount, "x", stripped)
    if unit in _SECONDS:
        return LatencyLimit(amount * _SECONDS[unit], "s", stripped)
    raise _latency_error(text, _why_not(match[1], unit))


def _why_not(number: str, unit: str) -> str:
    if unit == "":
        return f"it has no unit; write {number}{'x' if float(number) <= 1 else 'ms'}"
    if unit == "%":
        return f"for a part of the original's time write {float(number) / 100:g}x"
    return f"unknown unit {unit!r}"


def _latency_error(text: str, why: str) -> UsageError:
    return UsageError(f"max_latency {text!r}: {why}. A latency is {LATENCY_FORMS}")
