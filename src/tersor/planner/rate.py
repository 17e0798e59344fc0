"""A cheap estimate of an archive's size at a global step: entropy of a sample of rows."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np

from tersor.calibrate.statistics import Statistics
from tersor.layouts.grid import Grid
from tersor.planner.execute import ReadTensor, quantize_tensor
from tersor.planner.plan import Plan, TensorPlan
from tersor.quant.classes import exponent_bits

SAMPLE_ELEMENTS = 1 << 16
MIN_SAMPLE_ROWS = 32
# Index entry, block checksums and padding of one tensor; header and index of the file.
BYTES_PER_TENSOR = 24
BYTES_PER_FILE = 600
# An escape-free table entry costs about a byte.
BITS_PER_TABLE_ENTRY = 8.0
# Coded streams lie this much above the entropy (DESIGN 4: .015-.03 bit at about 3 bits).
CODER_OVERHEAD = 1.006
_CLASS_OFFSET = 80
_N_CLASSES = 241
_N_SYMBOLS = 128


@dataclass(slots=True)
class RateMeter:
    """Histograms of code symbols by entropy class, over the whole file.

    A magnitude below 16 is its own symbol; larger ones are a symbol of exponent and two leading bits, the rest raw.
    """

    counts: np.ndarray = field(default_factory=lambda: np.zeros((_N_CLASSES, _N_SYMBOLS)))
    raw_bits: float = 0.0

    def add(self, grid: Grid, scale: float) -> None:
        """Count a grid's codes `scale` times, and its exponents; row exponents scale with the rows."""
        magnitudes = np.abs(grid.codes)
        classes = grid.row_classes[:, None].astype(np.int64) + grid.column_classes[None, :]
        classes = np.clip(classes + _CLASS_OFFSET, 0, _N_CLASSES - 1)
        symbols, low_bits = _symbols(magnitudes)
        found = np.bincount((classes * _N_SYMBOLS + symbols).ravel(), minlength=self.counts.size)
        self.counts += scale * found.reshape(self.counts.shape)
        self.raw_bits += scale * (float(low_bits.sum()) + float(np.count_nonzero(magnitudes)))
        for rows in (grid.row_exponents, grid.row_classes):
            self.raw_bits += exponent_bits(rows) * (
                scale if rows.min(initial=0) != rows.max(initial=0) else 1.0
            )
        for columns in (grid.column_exponents, grid.column_classes):
            self.raw_bits += exponent_bits(columns)

    def n_bytes(self) -> float:
        """Entropy of the symbols given their class, raw bits, and the tables."""
        totals = self.counts.sum(axis=1, keepdims=True)
        used = self.counts > 0
        shares = self.counts[used] / np.broadcast_to(totals, self.counts.shape)[used]
        entropy = -float((self.counts[used] * np.log2(shares)).sum())
        tables = BITS_PER_TABLE_ENTRY * int(used.sum())
        return (CODER_OVERHEAD * (entropy + self.raw_bits) + tables) / 8


def estimate_bytes(
    read: ReadTensor,
    plan: Plan,
    statistics: Statistics,
    delta: float,
    *,
    threads: int = 1,
    rate_weight: float = 0.05,
    sample_elements: int = SAMPLE_ELEMENTS,
) -> float:
    """Estimated bytes of the archive at `delta`, from about sample_elements codes of every tensor."""
    meter = RateMeter()
    fixed = float(BYTES_PER_FILE)
    for tensor in plan.tensors:
        fixed += BYTES_PER_TENSOR + len(tensor.spec.name) / 3
        if tensor.method == "keep":
            fixed += tensor.spec.n_bytes
        elif tensor.is_quantized:
            rows, scale = _sample(tensor, sample_elements)
            grid = quantize_tensor(
                read, tensor, statistics, delta, threads=threads, rate_weight=rate_weight, rows=rows
            )
            meter.add(grid, scale)
    return fixed + meter.n_bytes()


def _sample(tensor: TensorPlan, sample_elements: int) -> tuple[slice, float]:
    """Evenly spaced rows, and how many rows each stands for."""
    n_rows, n_columns = tensor.matrix_shape
    wanted = max(MIN_SAMPLE_ROWS, sample_elements // max(1, n_columns))
    stride = max(1, n_rows // wanted)
    return slice(stride // 2, None, stride), n_rows / len(range(stride // 2, n_rows, stride))


def _symbols(magnitudes: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """(symbol, number of raw low bits) of each magnitude."""
    exponents = np.frexp(np.maximum(magnitudes, 1).astype(np.float64))[1] - 1  # floor(log2)
    low_bits = np.where(magnitudes >= 16, exponents - 2, 0)
    coarse = 4 * exponents + ((magnitudes >> low_bits) & 3)  # 16 -> 16, 31 -> 19, 32 -> 20
    return np.where(magnitudes >= 16, coarse, magnitudes), low_bits
