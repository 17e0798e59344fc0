"""Which instruction sets tersor's coders run on here."""

from __future__ import annotations

import os
import subprocess
import sys

ISAS = ("avx512", "avx2", "sse41", "neon", "scalar")
"""What TERSOR_ISA may say, best first."""

_PRINT = "from tersor.bench.isa import isa_in_use; print(isa_in_use())"


def isa_in_use() -> str:
    """Return the instruction set of this process; "" if this build has but one."""
    from tersor import _core

    return str(_core.isa()) if hasattr(_core, "isa") else ""


def available_isas() -> tuple[str, ...]:
    """Return those of ISAS that this machine and this build have, best first; ("",) if the build has but one.

    Each is tried in a process of its own, as the choice is made once a process.
    """
    if not isa_in_use():
        return ("",)
    return tuple(isa for isa in ISAS if _isa_under(isa) == isa)


def _isa_under(isa: str) -> str:
    """Return the instruction set of a process that is told to use `isa`; "" if it refuses."""
    environment = {**os.environ, "TERSOR_ISA": isa}
    command = [sys.executable, "-c", _PRINT]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    return done.stdout.strip() if done.returncode == 0 else ""
