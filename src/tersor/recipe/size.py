"""How large the result may be: 0.2x, 45MB, 3.2bpw."""

from __future__ import annotations

import re
from dataclasses import dataclass
from decimal import Decimal
from typing import Literal

from tersor.errors import UsageError
from tersor.registry import did_you_mean

SIZE_FORMS = "0.2x (of the original), 45MB, 45MiB, 450kB or 3.2bpw (bits per parameter)"

_BYTES = {
    "B": 1,
    "kB": 10**3, "KB": 10**3, "MB": 10**6, "GB": 10**9, "TB": 10**12,
    "KiB": 2**10, "MiB": 2**20, "GiB": 2**30, "TiB": 2**40,
}  # fmt: skip
_NUMBER_UNIT = re.compile(r"(\d{1,18}(?:\.\d{0,18})?|\.\d{1,18}) ?([A-Za-z%]*)", re.ASCII)


@dataclass(frozen=True, slots=True)
class Budget:
    """The most that a compressed model's weight files may take, everything in them included.

    unit "x": `amount` is a fraction of the original's weight-file bytes, 0 < amount <= 1.
    unit "bytes": a whole number of bytes. unit "bpw": bits per parameter of the original, 0 < amount <= 64.
    """

    amount: Decimal
    unit: Literal["x", "bytes", "bpw"]
    text: str

    def n_bytes(self, original_n_bytes: int, n_params: int) -> int:
        """Return the budget in bytes, rounded down, for an original of that size."""
        if self.unit == "x":
            return int(self.amount * original_n_bytes)
        if self.unit == "bpw":
            return int(self.amount * n_params / 8)
        return int(self.amount)


def parse_size(text: str) -> Budget:
    """Return the budget that `text` names: 0.2x, 45MB, 45MiB, 450kB, 3.2bpw.

    Decimal units are powers of 1000, binary ones (KiB, MiB, ...) of 1024.
    x must be in (0, 1], bpw in (0, 64], bytes at least 1.
    Raises: UsageError, which says how to write what was probably meant.
    """
    stripped = text.strip()
    match = _NUMBER_UNIT.fullmatch(stripped)
    if match is None:
        raise _size_error(text, _why_not_a_number(stripped))
    amount, unit = Decimal(match[1]), match[2]
    if unit == "x":
        return _ratio(text, amount)
    if unit == "bpw":
        if not 0 < amount <= 64:
            raise _size_error(text, "bits per parameter must be above 0 and at most 64")
        return Budget(amount, "bpw", stripped)
    if unit in _BYTES:
        n_bytes = int(amount * _BYTES[unit])
        if n_bytes < 1:
            raise _size_error(text, "it must be at least one byte")
        return Budget(Decimal(n_bytes), "bytes", stripped)
    raise _size_error(text, _why_not_a_unit(match[1], unit))


def _ratio(text: str, amount: Decimal) -> Budget:
    if amount == 0:
        raise _size_error(text, "it must be above 0")
    if amount > 1:
        smaller = f"{float(1 / amount):.4g}"
        raise _size_error(text, f"larger than the original; for {amount} times smaller write {smaller}x")
    return Budget(amount, "x", text.strip())


def _why_not_a_number(text: str) -> str:
    if re.fullmatch(r"\d+,\d+ ?[A-Za-z]*", text):
        return f"the decimal mark is a point: {text.replace(',', '.')}"
    if text.startswith("-"):
        return "it must be above 0"
    return "it must be a number and a unit"


def _why_not_a_unit(number: str, unit: str) -> str:
    if unit == "":
        units = ("x", "MB", "bpw") if Decimal(number) <= 1 else ("MB", "bpw")
        return f"it has no unit; write {' or '.join(number + known for known in units)}"
    if unit == "%":
        return f"for a part of the original write {format((Decimal(number) / 100).normalize(), 'f')}x"
    same = [known for known in ("x", "bpw", *_BYTES) if known.lower() == unit.lower()]
    if same:
        return f"units are written with these capitals: {number}{same[0]}"
    return f"unknown unit {unit!r}{did_you_mean(unit, ('x', 'bpw', *_BYTES))}"


def _size_error(text: str, why: str) -> UsageError:
    return UsageError(f"size {text!r}: {why}{'' if why.endswith(('?', '.')) else '.'} A size is {SIZE_FORMS}")
