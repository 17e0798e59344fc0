"""Uniform quantization of fixed width: clip(round(w / delta), -Q, Q) * delta."""

from __future__ import annotations

import re
from typing import Any

import numpy as np

from tersor.errors import UsageError
from tersor.layouts.grid import Grid
from tersor.quant.alphabet import Integers
from tersor.quant.base import QuantConfig, TensorStatistics, check_arguments
from tersor.quant.feedback import round_to_alphabet, scales_for_feedback
from tersor.quant.fixed_rate import (
    ROW,
    column_weights,
    columns_per_scale,
    feedback_factor,
    feedback_option,
    grid_of_groups,
    grid_of_one_step,
    group_size_option,
    scale_dtype_option,
)
from tersor.quant.group_scales import GroupScales, absmax_scales, range_scales, search_scales
from tersor.quant.info import MethodInfo, Option, boolean, choice, describes, integer

_POWER = re.compile(r"2\^(-?\d{1,3})", re.ASCII)
_GROUP_SIZE = 128
_LEAST_COLUMNS = 16  # a 16-bit scale would cost more than a bit per weight
_SEARCH_ELEMENTS = 1 << 20  # of a whole tensor, for the search of its one step


def _delta_option() -> Option:
    def check(value: Any) -> str:
        needed = 'a number 1e-30..1e30 or a power of two such as "2^-8"'
        if value is None:
            return ""
        if isinstance(value, str) and _POWER.fullmatch(value) is None:
            return needed
        if not isinstance(value, str | int | float) or isinstance(value, bool):
            return needed
        return "" if 1e-30 <= _delta_of(value) <= 1e30 else needed

    return Option(None, check, 'the step itself, for the whole tensor: a number or "2^-8"; left out: found')


def _max_code_option() -> Option:
    def check(value: Any) -> str:
        good = isinstance(value, int) and not isinstance(value, bool) and 1 <= value <= 127
        return "" if value is None or good else "an integer 1..127"

    return Option(None, check, "largest code Q; left out: 2^(bits-1) - 1")


@describes(
    MethodInfo(
        name="fixed",
        budget="options",
        source="textbook; search of the step: Banner et al. 2019, arXiv:1810.05723; feedback: GPTQ, arXiv:2210.17323",
        summary="integers of 2 to 8 bits times one step per group, row or tensor, clipped",
        options={
            "bits": integer(4, 2, 8, "width of a code in bits"),
            "max_code": _max_code_option(),
            "symmetric": boolean(True, "codes -Q..Q and no zero point; false: 2^bits codes and a zero point"),
            "granularity": choice("group", ("group", "row", "tensor"), "what shares a step"),
            "group_size": group_size_option(_GROUP_SIZE),
            "scale": choice(
                "mse", ("mse", "absmax"), "mse: least (Hessian-weighted) error; absmax: no clipping"
            ),
            "delta": _delta_option(),
            "scale_dtype": scale_dtype_option(),
            "error_feedback": feedback_option(),
        },
        targets=frozenset({"storage", "cpu", "gguf", "vllm"}),
        keeps_zeros=True,
    )
)
def quantize_fixed(weight: np.ndarray, config: QuantConfig, stats: TensorStatistics) -> Grid:
    """Round to clip(round(w / delta), -Q, Q) * delta, Q = 2^(bits-1) - 1, half to even; config.step is not used.

    delta is given, or found for every group, row or tensor (rows under 16 columns share the tensor's): so that Q
    reaches the largest weight ("absmax"), or by search of the least squared error, columns weighted by the Hessian's
    diagonal if there is one ("mse"); with error_feedback all of these are then scaled to what suits the feedback.
    symmetric=False: (clip(round(w / delta) + z, 0, 2^bits - 1) - z) * delta, codes stored less 2^(bits-1).
    error_feedback: GPTQ with these clipped codes where stats has a factor.
    Guarantee: the decoded weight is exactly the float32 product of an integer and delta as stored; without feedback,
        |w - decoded| <= delta / 2 up to float32 rounding where w is not clipped.
    """
    check_arguments(weight, config, stats)
    options = fixed_options(config)
    alphabet = _alphabet(options)
    factor = feedback_factor(stats, options["error_feedback"])
    keep = options["scale"] != "mse" or options["delta"] is not None
    if _has_one_step(options, weight.shape[1]):
        groups = _one_group(weight.shape, *_step_of_tensor(weight, alphabet, options, stats))
        if factor is not None and not keep:
            groups = scales_for_feedback(weight, alphabet, groups, factor, config.mask)
        codes = round_to_alphabet(weight, alphabet, groups, factor, config.mask)
        return grid_of_one_step(codes, alphabet, *_step_of_group(groups))
    wanted = options["group_size"] if options["granularity"] == "group" else ROW
    size = columns_per_scale(weight.shape[1], wanted, _GROUP_SIZE)
    groups = _scales(weight, size, alphabet, options, column_weights(stats, weight.shape[1]))
    return grid_of_groups(
        weight,
        alphabet,
        groups,
        options["scale_dtype"],
        factor=factor,
        keep_scales=keep,
        mask=config.mask,
    )


def fixed_options(config: QuantConfig) -> dict[str, Any]:
    """The options of a config, checked alone and against each other."""
    options = quantize_fixed.info.resolve(config.options)
    if options["delta"] is not None and not options["symmetric"]:
        raise UsageError("method 'fixed': option delta needs symmetric=true: its codes are -Q..Q")
    if options["max_code"] is not None and not options["symmetric"]:
        raise UsageError("method 'fixed': option max_code needs symmetric=true; with a zero point use bits")
    return options


def _has_one_step(options: dict[str, Any], columns: int) -> bool:
    """Whether one step serves the tensor: asked for, or rows too short (of a convolution) to pay for scales."""
    is_short = options["group_size"] is None and columns < _LEAST_COLUMNS
    return options["delta"] is not None or options["granularity"] == "tensor" or is_short


def _alphabet(options: dict[str, Any]) -> Integers:
    half = 1 << (options["bits"] - 1)
    if not options["symmetric"]:
        return Integers(-half, half - 1)
    largest = options["max_code"] if options["max_code"] is not None else half - 1
    return Integers(-largest, largest)


def _delta_of(value: str | float) -> float:
    if isinstance(value, str):
        return 2.0 ** int(value.removeprefix("2^"))
    return float(value)


def _scales(
    weight: np.ndarray, size: int, alphabet: Integers, options: dict[str, Any], weights: np.ndarray
) -> GroupScales:
    if options["symmetric"]:
        groups = absmax_scales(weight, size, alphabet)
    else:
        groups = range_scales(weight, size, alphabet.low, alphabet.high)
    return search_scales(weight, groups, alphabet, weights) if options["scale"] == "mse" else groups


def _step_of_tensor(
    weight: np.ndarray, alphabet: Integers, options: dict[str, Any], stats: TensorStatistics
) -> tuple[float, int]:
    """The one step (a float32) and zero point of a tensor."""
    if options["delta"] is not None:
        return float(np.float32(_delta_of(options["delta"]))), 0
    if not weight.any():
        return 1.0, 0
    stride = max(weight.size // _SEARCH_ELEMENTS, 1)
    column = np.arange(0, weight.size, stride) % weight.shape[1]
    sample = weight.reshape(-1)[::stride]
    # The ends belong to the sample: they are what absmax goes by.
    sample = np.append(sample, [weight.min(), weight.max()])[None, :]  # (1, elements)
    weights = np.append(column_weights(stats, weight.shape[1])[column], np.zeros(2, np.float32))
    found = _scales(sample, sample.shape[1], alphabet, options, weights)
    return _step_of_group(found)


def _step_of_group(groups: GroupScales) -> tuple[float, int]:
    """Step and zero point that all groups share."""
    return float(groups.scales[0, 0]), int(groups.zero_points[0, 0])


def _one_group(shape: tuple[int, ...], step: float, zero_point: int) -> GroupScales:
    rows, columns = shape
    scales = np.full((rows, 1), step, np.float32)
    return GroupScales(max(columns, 1), scales, np.full((rows, 1), zero_point, np.int32))
