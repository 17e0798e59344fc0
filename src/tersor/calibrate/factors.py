"""From sums to what quantizers get: Hessians and their factors, in files."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

import numpy as np

from tersor.calibrate.head import HeadSums
from tersor.calibrate.matrices import MatrixSums
from tersor.calibrate.roles import ParameterRole
from tersor.calibrate.sums import LinearSums, LookupSums
from tersor.calibrate.workers import OrderedWorkers
from tersor.errors import NonFiniteError
from tersor.quant.factor import inverse_factor, inverse_row_factor


@dataclass(frozen=True, slots=True)
class Damping:
    """Of the mean diagonal, by kind of matrix.

    Encoders, error of the linear layers of MiniLM at 3.9 bits each (WikiText, 16k tokens), input / output damping:
    .01/.06 .00278, .01/.15 .00247, .01/.4 .00231, .03/.15 .00241, .03/.3 .00235, .03/.6 .00230, .03/1.2 .00241,
    .06/.5 .00231. Its word embedding at 2.3 bits: .02 to .2 within 3%.
    Decoders, KL of stories260k at 5 / 4 / 3 bits, input / output damping (two seeds): .05/.1 .0091 / .0388 / .202,
    .01/.1 .0094 / .0400 / .208, .05/.3 .0098 / .0391 / .206; with twice the plain share .0093 / .0398 / .203.
    """

    input: float
    output: float
    lookup: float = 0.1


ENCODER_DAMPING = Damping(input=0.02, output=0.4)
DECODER_DAMPING = Damping(input=0.05, output=0.1)


@dataclass(slots=True)
class Factors:
    """Files by parameter name, in `spool`; the mappings are those of `Statistics`."""

    spool: Path
    factors: dict[str, Path] = field(default_factory=dict)
    hessians: dict[str, Path] = field(default_factory=dict)
    row_factors: dict[str, Path] = field(default_factory=dict)
    output_hessians: dict[str, Path] = field(default_factory=dict)


def write_factors(
    spool: Path,
    roles: Mapping[str, ParameterRole],
    linear: Mapping[str, LinearSums],
    lookups: Mapping[str, LookupSums],
    head: tuple[str, HeadSums] | None,
    matrices: MatrixSums,
    damping: Damping,
    workers: OrderedWorkers,
) -> Factors:
    """Write H, G and their factors of every parameter, and free the sums.

    head: name and sums of the head over the vocabulary. Raises: NonFiniteError naming the parameter.
    """
    found = Factors(spool)
    for number, name in enumerate(roles):
        parts = []
        if name in linear:
            parts.append(matrices.take(f"{linear[name].key}.input"))
        if name in lookups:
            parts.append(matrices.take(f"{lookups[name].key}.lookup"))
        if head is not None and head[0] == name:
            parts.append(head[1].hessian.numpy())
        hessian = _total(parts)
        base = spool / f"{number:05d}"
        if hessian is not None:
            found.hessians[name], found.factors[name] = _files(base, "input")
            share = damping.lookup if name in lookups else damping.input
            workers.submit(name, partial(_write, name, base, "input", hessian, share), hessian.nbytes)
        output = matrices.take(f"{linear[name].key}.output") if name in linear else None
        if output is not None:
            found.output_hessians[name], found.row_factors[name] = _files(base, "output")
            workers.submit(name, partial(_write, name, base, "output", output, damping.output), output.nbytes)
    workers.finish()
    return found


def _total(parts: list[np.ndarray | None]) -> np.ndarray | None:
    """The sum of what is there; the uses of a tied parameter add up."""
    there = [part for part in parts if part is not None]
    return None if not there else there[0] if len(there) == 1 else np.add.reduce(there)


def _files(base: Path, side: str) -> tuple[Path, Path]:
    return base.with_suffix(f".{side}.hessian.npy"), base.with_suffix(f".{side}.factor.npy")


def _write(name: str, base: Path, side: str, hessian: np.ndarray, damping: float) -> None:
    hessian_path, factor_path = _files(base, side)
    try:
        factor = inverse_factor(hessian, damping) if side == "input" else inverse_row_factor(hessian, damping)
    except NonFiniteError as exc:
        raise NonFiniteError(f"parameter {name!r}: {exc}") from exc
    np.save(hessian_path, hessian)
    np.save(factor_path, factor)
