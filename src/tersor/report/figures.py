"""Numbers as people read them."""

from __future__ import annotations

NONE = "–"
MINUS = "−"


def bytes_text(n_bytes: float | None) -> str:
    """512 B, 45.1 kB, 90.9 MB (decimal units)."""
    if n_bytes is None:
        return NONE
    if n_bytes < 1000:
        return f"{n_bytes:.0f} B"
    power = min(4, next(power for power in range(1, 8) if power == 7 or n_bytes < 999.95 * 1000**power))
    return f"{n_bytes / 1000**power:.1f} {('kB', 'MB', 'GB', 'TB')[power - 1]}"


def integer_text(value: float | None) -> str:
    """1,234,567."""
    return NONE if value is None else _with_minus(f"{value:,.0f}")


def figure_text(value: float | None, digits: int = 4) -> str:
    """A number to `digits` significant digits: 86.57, 0.01234, 1.2e-07."""
    if value is None:
        return NONE
    return _with_minus(
        f"{value:,.0f}" if abs(value) >= 10**digits and abs(value) < 1e15 else f"{value:.{digits}g}"
    )


def percent_text(share: float | None) -> str:
    """6.25 % of a share of .0625."""
    return NONE if share is None else f"{figure_text(100 * share, 3)} %"


def times_text(factor: float | None) -> str:
    """16.0x."""
    return NONE if factor is None else f"{factor:,.1f}×" if factor < 100 else f"{factor:,.0f}×"


def signed_text(value: float | None) -> str:
    """A difference with its sign: +0.12, −3.4, 0."""
    if value is None:
        return NONE
    return f"+{figure_text(value, 3)}" if value > 0 else figure_text(value, 3)


def p_text(value: float | None) -> str:
    """A probability: 0.031, < 0.001."""
    if value is None:
        return NONE
    return "< 0.001" if value < 0.001 else f"{value:.2g}"


def shape_text(shape: object) -> str:
    """384 × 1536, or "scalar"."""
    return " × ".join(map(str, shape)) if isinstance(shape, list | tuple) and shape else "scalar"


def _with_minus(value: str) -> str:
    return MINUS + value[1:] if value.startswith("-") else value
