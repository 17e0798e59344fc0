"""The peak of one phase of the work, where the system tells (Linux); elsewhere that of the process so far."""

from __future__ import annotations

from pathlib import Path

from tersor.process import peak_rss_bytes

_CLEAR = Path("/proc/self/clear_refs")
_STATUS = Path("/proc/self/status")
_RESET_PEAK = "5"  # proc(5): reset the peak resident set size to the current one


def begin_phase() -> None:
    """From here on `phase_peak_bytes` counts anew."""
    try:
        _CLEAR.write_text(_RESET_PEAK)
    except OSError:
        return


def phase_peak_bytes() -> int:
    """The most memory held since `begin_phase`."""
    try:
        lines = _STATUS.read_text().splitlines()
    except OSError:
        return peak_rss_bytes()
    found = [line.split()[1] for line in lines if line.startswith("VmHWM:")]
    return 1024 * int(found[0]) if found else peak_rss_bytes()
