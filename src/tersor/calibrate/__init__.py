"""Calibration: what a model does to its inputs, measured once for all methods.

`default_text` or `text_from_file` give token sequences, `collect` walks the model over them and returns `Statistics`;
`collect_cached` does so once for each model, text and settings.
"""

from __future__ import annotations

from tersor.calibrate.cache import collect_cached
from tersor.calibrate.roles import ParameterRole, parameter_roles
from tersor.calibrate.statistics import Statistics
from tersor.calibrate.text import CalibrationText, default_text, text_from_file, unused_tokens
from tersor.calibrate.walk import collect

__all__ = [
    "CalibrationText",
    "ParameterRole",
    "Statistics",
    "collect",
    "collect_cached",
    "default_text",
    "parameter_roles",
    "text_from_file",
    "unused_tokens",
]
