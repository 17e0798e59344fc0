"""Quantizers: (weight, config, statistics) -> Grid. To add one: a file here and a line below."""

from __future__ import annotations

from tersor.quant.base import QuantConfig, Quantizer, TensorStatistics
from tersor.quant.code_lengths import CodeLengths
from tersor.quant.info import Method, MethodInfo, Option
from tersor.registry import Registry

QUANTIZERS: Registry[Quantizer] = Registry(
    "quantizer",
    {
        "awq": "tersor.quant.awq:quantize_awq",
        "codebook": "tersor.quant.codebook:quantize_codebook",
        "fixed": "tersor.quant.fixed:quantize_fixed",
        "fp4": "tersor.quant.fp4:quantize_fp4",
        "gptq": "tersor.quant.gptq:quantize_gptq",
        "nf4": "tersor.quant.nf4:quantize_nf4",
        "rtn": "tersor.quant.rtn:quantize_rtn",
        "sign": "tersor.quant.sign:quantize_sign",
        "smoothquant": "tersor.quant.smoothquant:quantize_smoothquant",
        "ternary": "tersor.quant.ternary:quantize_ternary",
        "two_sided": "tersor.quant.two_sided:quantize_two_sided",
    },
)

__all__ = [
    "QUANTIZERS",
    "CodeLengths",
    "Method",
    "MethodInfo",
    "Option",
    "QuantConfig",
    "Quantizer",
    "TensorStatistics",
]
