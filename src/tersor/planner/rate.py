"""A cheap estimate of an archive's size at a global step: entropy of a sample of rows."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np

from tersor.calibrate.statistics import Statistics
from tersor.layouts.grid import Grid
from tersor.layouts.grid_tables import count_codes
from tersor.planner.execute import ReadTensor, Rounding, base_step_of, quantize_matrix, round_part
from tersor.planner.factor_samples import FactorSample, factor_samples, sampled
from tersor.planner.float_size import float_bytes
from tersor.planner.plan import Plan, TensorPlan
from tersor.planner.pruned import matrix_of
from tersor.quant.classes import exponent_bits
from tersor.quant.code_lengths import FIRST_CLASS, N_CLASSES, REACH, CodeLengths, fitted_lengths

SAMPLE_ELEMENTS = 1 << 16
MIN_SAMPLE_ROWS = 32
# Index entry, block checksums and padding of one tensor; header and index of the file.
BYTES_PER_TENSOR = 24
BYTES_PER_FILE = 600
# An escape-free table entry costs about a byte.
BITS_PER_TABLE_ENTRY = 8.0
# Coded streams lie this much above the entropy (DESIGN 4: .015-.03 bit at about 3 bits).
CODER_OVERHEAD = 1.006
_N_SYMBOLS = 128
_RANGE = 255


def _symbols(magnitudes: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """(symbol, number of raw low bits) of each magnitude: below 16 its own symbol, else exponent and two bits."""
    exponents = np.frexp(np.maximum(magnitudes, 1).astype(np.float64))[1] - 1  # floor(log2)
    low_bits = np.where(magnitudes >= 16, exponents - 2, 0)
    coarse = 4 * exponents + ((magnitudes >> low_bits) & 3)  # 16 -> 16, 31 -> 19, 32 -> 20
    return np.where(magnitudes >= 16, coarse, magnitudes), low_bits


_SYMBOL_OF, _LOW_BITS_OF = _symbols(np.arange(_RANGE + 1))
_FIRST_OF_SYMBOL = np.flatnonzero(np.diff(_SYMBOL_OF, prepend=-1))


@dataclass(slots=True)
class RateMeter:
    """Histograms of code magnitudes by trellis half and entropy class, over the whole file.

    A magnitude below 16 is its own symbol; larger ones are a symbol of exponent and two leading bits, the rest raw.
    """

    counts: dict[int, np.ndarray] = field(default_factory=dict)  # halves -> (halves, N_CLASSES, _N_SYMBOLS)
    raw_bits: float = 0.0

    def add(self, grid: Grid, scale: float) -> None:
        """Count a grid's codes `scale` times, and its exponents; row exponents scale with the rows."""
        halves = 2 if grid.trellis_rows else 1
        if halves not in self.counts:
            self.counts[halves] = np.zeros((halves, N_CLASSES, _N_SYMBOLS))
        found = self._count_near(grid, halves) + self._count_far(grid, halves)
        self.counts[halves] += scale * found[:, :, :_N_SYMBOLS]
        # Bits below a symbol, and the sign of all but zeros.
        self.raw_bits += scale * float((found[:, :, 1:] * (1 + _raw_bits_of_symbols())).sum())
        for rows in (grid.row_exponents, grid.row_classes):
            self.raw_bits += exponent_bits(rows) * (
                scale if rows.min(initial=0) != rows.max(initial=0) else 1.0
            )
        for columns in (grid.column_exponents, grid.column_classes):
            self.raw_bits += exponent_bits(columns)

    def _count_near(self, grid: Grid, halves: int) -> np.ndarray:
        """Symbols of the codes within +-_RANGE."""
        counts = np.zeros((halves, N_CLASSES, 2 * _RANGE + 1), np.uint64)
        outside = np.zeros((halves, N_CLASSES), np.uint64)
        count_codes(grid, FIRST_CLASS, counts, outside)
        magnitudes = counts[:, :, _RANGE:].astype(np.float64)
        magnitudes[:, :, 1:] += counts[:, :, _RANGE - 1 :: -1]
        found = np.zeros((halves, N_CLASSES, _N_SYMBOLS))
        found[:, :, _SYMBOL_OF[_FIRST_OF_SYMBOL]] = np.add.reduceat(magnitudes, _FIRST_OF_SYMBOL, axis=2)
        return found

    def _count_far(self, grid: Grid, halves: int) -> np.ndarray:
        """Symbols of the codes beyond +-_RANGE, all in the first half."""
        found = np.zeros((halves, N_CLASSES, _N_SYMBOLS))
        magnitudes = np.abs(grid.codes)
        rows, columns = np.nonzero(magnitudes > _RANGE)
        if len(rows):
            classes = grid.row_classes[rows].astype(np.int64) + grid.column_classes[columns] - FIRST_CLASS
            symbols, _ = _symbols(magnitudes[rows, columns])
            np.add.at(found[0], (np.clip(classes, 0, N_CLASSES - 1), symbols), 1.0)
        return found

    def n_bytes(self) -> float:
        """Entropy of the symbols given their class, raw bits, and the tables."""
        bits, tables = self.raw_bits, 0.0
        for counts in self.counts.values():
            totals = np.broadcast_to(counts.sum(axis=2, keepdims=True), counts.shape)
            used = counts > 0
            bits -= float((counts[used] * np.log2(counts[used] / totals[used])).sum())
            tables += BITS_PER_TABLE_ENTRY * int(used.sum())
        return (CODER_OVERHEAD * bits + tables) / 8

    def code_lengths(self) -> CodeLengths | None:
        """What codes cost by the histograms so far: of trellis codes if there are any; None if nothing was counted."""
        if not self.counts:
            return None
        counts = self.counts[max(self.counts)]
        magnitudes = np.arange(REACH + 1)
        spread = counts[:, :, _SYMBOL_OF[magnitudes]] / np.exp2(_LOW_BITS_OF[magnitudes])
        spread[:, :, REACH] += counts[:, :, _SYMBOL_OF[REACH] + 1 :].sum(axis=2)
        return fitted_lengths(spread)


def _raw_bits_of_symbols() -> np.ndarray:
    """Low bits of the symbols from 1 on."""
    symbols = np.arange(1, _N_SYMBOLS)
    return np.where(symbols >= 16, symbols // 4 - 2, 0)


class SizeEstimator:
    """Estimates the bytes of an archive at a global step, from about `sample_elements` codes of every tensor.

    Each estimate rounds with the code lengths that the one before it found (the first: a built-in prior), so after a
    search they fit the step that was found; the full pass takes them from here.
    """

    def __init__(
        self,
        read: ReadTensor,
        plan: Plan,
        statistics: Statistics,
        *,
        threads: int = 1,
        rate_weight: float | None = None,
        sample_elements: int = SAMPLE_ELEMENTS,
    ) -> None:
        self._read, self._plan, self._statistics = read, plan, statistics
        self._threads, self._rate_weight, self._sample_elements = threads, rate_weight, sample_elements
        self.code_lengths: CodeLengths | None = None
        self._factors: dict[int, tuple[float, list[FactorSample]]] = {}

    def __call__(self, delta: float) -> float:
        """Estimated bytes at `delta`."""
        meter = RateMeter()
        fixed = float(BYTES_PER_FILE)
        rounding = Rounding(delta, self._rate_weight, self._threads, self.code_lengths)
        for number, tensor in enumerate(self._plan.tensors):
            fixed += BYTES_PER_TENSOR + len(tensor.spec.name) / 3
            if tensor.method in ("keep", "float"):
                fixed += float_bytes(tensor)
            elif tensor.low_rank is not None:
                fixed += self._add_factors(meter, number, tensor, rounding)
            elif tensor.is_quantized:
                meter.add(*self._sample(tensor, rounding))
        self.code_lengths = meter.code_lengths()
        return fixed + meter.n_bytes()

    def _sample(self, tensor: TensorPlan, rounding: Rounding) -> tuple[Grid, float]:
        """The grid of evenly spaced rows, and how many rows each stands for."""
        rows, share = sampled(*tensor.matrix_shape, self._sample_elements, MIN_SAMPLE_ROWS)
        weight = matrix_of(self._read(tensor.spec.name), tensor, rows)
        return quantize_matrix(weight, tensor, self._statistics, rounding, rows=rows), share

    def _add_factors(self, meter: RateMeter, number: int, tensor: TensorPlan, rounding: Rounding) -> float:
        """Count the codes of the factors; return the bytes of their index entries.

        They are made at the first estimate, and rounded anew at each.
        """
        if number not in self._factors:
            weight = matrix_of(self._read(tensor.spec.name), tensor)
            samples = factor_samples(weight, tensor, self._statistics, rounding, self._sample_elements)
            self._factors[number] = base_step_of(tensor, self._statistics, weight), samples
        base_step, samples = self._factors[number]
        for part in samples:
            grid = round_part(part.matrix, tensor, base_step, rounding, part.known, part.mask)
            meter.add(grid, part.share)
        return len(samples) * (BYTES_PER_TENSOR + len(tensor.spec.name) / 3)


def estimate_bytes(
    read: ReadTensor,
    plan: Plan,
    statistics: Statistics,
    delta: float,
    *,
    threads: int = 1,
    rate_weight: float | None = None,
    sample_elements: int = SAMPLE_ELEMENTS,
) -> float:
    """Estimated bytes of the archive at `delta`: one call of a new SizeEstimator."""
    return SizeEstimator(
        read, plan, statistics, threads=threads, rate_weight=rate_weight, sample_elements=sample_elements
    )(delta)
