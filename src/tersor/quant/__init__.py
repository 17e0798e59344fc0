"""Quantizers: (weight, config, statistics) -> Grid. To add one: a file here and a line below."""

from __future__ import annotations

from tersor.quant.base import QuantConfig, Quantizer, TensorStatistics
from tersor.registry import Registry

QUANTIZERS: Registry[Quantizer] = Registry(
    "quantizer",
    {
        "gptq": "tersor.quant.gptq:quantize_gptq",
        "rtn": "tersor.quant.rtn:quantize_rtn",
    },
)

__all__ = ["QUANTIZERS", "QuantConfig", "Quantizer", "TensorStatistics"]
