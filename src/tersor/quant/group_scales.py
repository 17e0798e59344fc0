"""Scales that runs of columns share: from the largest weight, from the range, or by search of the least error."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace

import ml_dtypes
import numpy as np

from tersor.errors import ShapeError
from tersor.quant.alphabet import Alphabet

SCALE_DTYPES: dict[str, np.dtype] = {
    "float16": np.dtype(np.float16),
    "bfloat16": np.dtype(ml_dtypes.bfloat16),
    "float32": np.dtype(np.float32),
}
# float16 is normal from 2**-14; below, a scale loses bits. Scales that do not fit are moved by a power of two.
_FLOAT16_LOWEST, _FLOAT16_HIGHEST = 2.0**-14, 2.0**15
_FLOAT16_AIM = 2.0**12  # where the largest scale is moved to: 26 octaves above the lowest
_OCTAVE_LIMIT = 100  # of the format's 120; column exponents add to them. Scales of 2**-124 become 0
_LEAST_SCALE = 1e-38
_ROWS_ELEMENTS = 1 << 18  # elements of a chunk of rows: its temporaries stay in the cache
# Ratios to the scale that reaches the largest weight. Few bits and heavy tails want small ones: 2 bits of a whole
# tensor whose largest weight is 20 standard deviations want .06.
_COARSE_RATIOS = np.geomspace(0.04, 1.1, 13).astype(np.float32)
_GOLDEN = np.float32(0.6180339887498949)
_N_GOLDEN_STEPS = 6  # leaves about 5% of the scale, where the error is flat


@dataclass(frozen=True, slots=True, eq=False)
class GroupScales:
    """A scale and a zero point for every `size` columns of a row.

    scales: (rows, groups), >= 0, of a float type; 0 only where all weights are 0. zero_points: int32, the same shape.
    octaves: power of two that all scales are still to be multiplied with.
    """

    size: int
    scales: np.ndarray
    zero_points: np.ndarray
    octaves: int = 0

    def spread(self, rows: slice) -> tuple[np.ndarray, np.ndarray]:
        """Scale (power of two left out) and zero point of every element of some rows, float32."""
        scales = np.repeat(self.scales[rows].astype(np.float32), self.size, axis=1)
        return scales, np.repeat(self.zero_points[rows].astype(np.float32), self.size, axis=1)

    def stored(self, dtype: str) -> GroupScales:
        """The scales rounded to "float16", "bfloat16" or "float32"; float16 ones moved by octaves if they must be.

        Guarantee: a positive scale stays positive if it is at least 2**-110 and 2**-35 of the largest.
        """
        octaves = _float16_octaves(self.scales) if dtype == "float16" else 0
        moved = np.ldexp(self.scales.astype(np.float32), -octaves)
        return replace(self, scales=moved.astype(SCALE_DTYPES[dtype]), octaves=octaves)


def _float16_octaves(scales: np.ndarray) -> int:
    used = scales[scales > 0]
    if not used.size or (used.min() >= _FLOAT16_LOWEST and used.max() < _FLOAT16_HIGHEST):
        return 0
    octaves = int(np.ceil(np.log2(float(used.max()) / _FLOAT16_AIM)))
    return min(max(octaves, -_OCTAVE_LIMIT), _OCTAVE_LIMIT)


def check_group_size(columns: int, group_size: int) -> None:
    """Raise ShapeError unless columns is a multiple of group_size, naming sizes that fit."""
    if columns % group_size:
        fitting = [size for size in range(1, columns + 1) if columns % size == 0]
        below = max(size for size in fitting if size < group_size) if fitting[0] < group_size else fitting[0]
        above = min((size for size in fitting if size > group_size), default=columns)
        raise ShapeError(
            f"columns={columns} is not a multiple of group_size={group_size}; use group_size {below} or {above}, "
            "another method for this tensor, or keep it without loss"
        )


def row_chunks(shape: tuple[int, ...], elements: int = _ROWS_ELEMENTS) -> Iterator[slice]:
    """Slices of rows of about `elements` elements each."""
    rows, columns = shape[0], max(shape[1], 1)
    step = max(elements // columns, 1)
    for first in range(0, rows, step):
        yield slice(first, min(first + step, rows))


def absmax_scales(weight: np.ndarray, size: int, alphabet: Alphabet) -> GroupScales:
    """The scales at which the highest level is each group's largest |weight|."""
    rows, columns = weight.shape
    grouped = weight.reshape(rows, columns // size, size)  # (rows, groups, size)
    largest = np.maximum(grouped.max(axis=2), -grouped.min(axis=2))
    scales = np.asarray(largest / np.float32(alphabet.highest), np.float32)
    return GroupScales(size, scales, np.zeros(scales.shape, np.int32))


def range_scales(weight: np.ndarray, size: int, low: int, high: int) -> GroupScales:
    """Scales and zero points that spread the integers low .. high over each group's range, zero always in it."""
    rows, columns = weight.shape
    grouped = weight.reshape(rows, columns // size, size)  # (rows, groups, size)
    least, most = np.minimum(grouped.min(axis=2), 0), np.maximum(grouped.max(axis=2), 0)
    scales = ((most.astype(np.float64) - least) / (high - low)).astype(np.float32)
    offsets = np.divide(-least, scales, out=np.zeros_like(scales), where=scales > 0)
    zero_points = low + np.clip(np.rint(offsets), 0, high - low).astype(np.int32)
    return GroupScales(size, scales, zero_points)


def power_of_two_scales(groups: GroupScales, alphabet: Alphabet) -> GroupScales:
    """Absmax scales replaced by powers of two, as MX formats: 2^(floor(log2 absmax) - floor(log2 highest level))."""
    largest = groups.scales.astype(np.float64) * alphabet.highest
    octaves = np.floor(np.log2(largest, out=np.zeros_like(largest), where=largest > 0))
    scales = np.exp2(octaves - np.floor(np.log2(alphabet.highest)))
    return replace(groups, scales=np.where(largest > 0, scales, 0).astype(np.float32))


def search_scales(
    weight: np.ndarray, start: GroupScales, alphabet: Alphabet, column_weights: np.ndarray
) -> GroupScales:
    """Each scale moved to where the group's error, weighted by column, is least: a coarse grid, then golden section.

    column_weights: float32 (columns,), >= 0. Zero points stay, so the range shrinks about zero.
    Guarantee: no group's error is larger than with `start`.
    """
    scales = start.scales.astype(np.float32, copy=True)
    for rows in row_chunks(weight.shape):
        group = _GroupErrors(weight[rows], start, rows, alphabet, column_weights)
        scales[rows] *= _best_ratios(group)
    return replace(start, scales=scales)


class _GroupErrors:
    """The weighted squared error of each group of some rows as a function of the ratio of its scale.

    In units of the starting scale: squares of tiny weights would underflow.
    """

    def __init__(
        self,
        weight: np.ndarray,
        start: GroupScales,
        rows: slice,
        alphabet: Alphabet,
        column_weights: np.ndarray,
    ) -> None:
        self.shape = (len(weight), weight.shape[1] // start.size)
        scales = start.scales[rows].astype(np.float32)[:, :, None]
        self._units = units_of(weight.reshape(*self.shape, start.size), scales, np.zeros_like(scales))
        self._column_weights = column_weights.reshape(1, self.shape[1], start.size)
        self._zeros = start.zero_points[rows].astype(np.float32)[:, :, None]
        self._alphabet = alphabet

    def at(self, ratios: np.ndarray) -> np.ndarray:
        """(rows, groups) for ratios of that shape."""
        ratios = ratios[:, :, None]
        codes = self._alphabet.nearest(units_of(self._units, ratios, self._zeros))
        error = (self._alphabet.levels(codes) - self._zeros) * ratios - self._units
        return np.asarray(np.einsum("rgs,rgs,xgs->rg", error, error, self._column_weights))


def units_of(weight: np.ndarray, scales: np.ndarray, zeros: np.ndarray) -> np.ndarray:
    """weight / scale + zero point, float32; the zero point where the scale is zero or has no inverse in float32."""
    inverse = np.divide(np.float32(1.0), scales, out=np.zeros_like(scales), where=scales > _LEAST_SCALE)
    return np.asarray(weight * inverse + zeros)


def _best_ratios(group: _GroupErrors) -> np.ndarray:
    ones = np.ones(group.shape, np.float32)
    best, least = ones, group.at(ones)
    for ratio in _COARSE_RATIOS:
        best, least = _better(best, least, ratio * ones, group.at(ratio * ones))
    spacing = _COARSE_RATIOS[1] / _COARSE_RATIOS[0]
    low, high = best / spacing, best * spacing
    left, right = high - _GOLDEN * (high - low), low + _GOLDEN * (high - low)
    at_left, at_right = group.at(left), group.at(right)
    for _ in range(_N_GOLDEN_STEPS):
        best, least = _better(*_better(best, least, left, at_left), right, at_right)
        go_left = at_left <= at_right
        low, high = np.where(go_left, low, left), np.where(go_left, right, high)
        probe = np.where(go_left, high - _GOLDEN * (high - low), low + _GOLDEN * (high - low))
        at_probe = group.at(probe)
        left, right = np.where(go_left, probe, right), np.where(go_left, left, probe)
        at_left, at_right = np.where(go_left, at_probe, at_right), np.where(go_left, at_left, at_probe)
    best, _ = _better(*_better(best, least, left, at_left), right, at_right)
    return best


def _better(
    best: np.ndarray, least: np.ndarray, other: np.ndarray, at_other: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    wins = at_other < least
    return np.where(wins, other, best), np.where(wins, at_other, least)
