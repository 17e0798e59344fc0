"""Recovery: what quantization lost, won back without labels: drift correction, and tuning of the small parameters.

`choose_recovery` decides what pays, `quantize_with_drift` quantizes block by block, `make_teacher` keeps what the
original model said, `tune_small` moves norms and biases towards it.
"""

from __future__ import annotations

from tersor.recovery.choice import Recovery, choose_recovery
from tersor.recovery.drift import DriftReport, quantize_with_drift
from tersor.recovery.small import Teacher, Tuned, make_teacher, tune_small

__all__ = [
    "DriftReport",
    "Recovery",
    "Teacher",
    "Tuned",
    "choose_recovery",
    "make_teacher",
    "quantize_with_drift",
    "tune_small",
]
