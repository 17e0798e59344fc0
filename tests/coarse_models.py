"""Tiny models quantized coarsely: what the tests of recovery start from."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import numpy as np

from tersor.calibrate import CalibrationText, Statistics, parameter_roles
from tersor.layouts.grid import Grid
from tersor.load import load_checked
from tersor.planner.choices import settle
from tersor.planner.execute import Rounding, quantize_matrix
from tersor.planner.plan import TensorPlan, Wishes, make_plan
from tersor.planner.pruned import matrix_of
from tersor.recovery.drift import DriftReport, quantize_with_drift
from tersor.recovery.parameters import PlannedParameters, dense_of
from tersor.sources.folder import scan

COARSE = 2.0  # about 2 bits per weight


class Case:
    """A tiny model in a folder, its plan and a text."""

    def __init__(self, folder: Path, stack: ExitStack, spool: Path) -> None:
        self.folder = folder
        self.spool = spool
        self.weights = stack.enter_context(scan(folder).open_weights())
        self.model = self.load()
        roles = parameter_roles(self.model)
        wishes = Wishes(method="two_sided")
        self.plan = settle(
            make_plan(list(self.weights), roles, aliases=self.weights.aliases, wishes=wishes), "storage"
        )
        generator = np.random.default_rng(0)
        lengths = generator.integers(8, 24, 48)
        self.text = CalibrationText(
            tuple(tuple(map(int, generator.integers(5, 261, n))) for n in lengths), "random"
        )

    def load(self) -> Any:
        return load_checked(self.folder, dtype="float32")[0]

    def quantize(self, tensor: TensorPlan, values: np.ndarray) -> Grid:
        return quantize_matrix(matrix_of(values, tensor), tensor, Statistics(self.spool), Rounding(COARSE))

    def plain(self, model: Any) -> dict[str, Grid]:
        """Quantize without correction, in place."""
        parameters, grids = PlannedParameters(model, self.plan), {}
        for tensor in self.plan.tensors:
            if tensor.is_quantized:
                grids[tensor.spec.name] = self.quantize(tensor, self.weights.read(tensor.spec.name))
                if tensor.parameter is not None:
                    parameters.set(tensor.parameter, dense_of(grids[tensor.spec.name], tensor))
        return grids

    def with_drift(self, model: Any, threads: int = 1) -> tuple[dict[str, Grid], DriftReport]:
        """Quantize with correction, in place."""
        grids: dict[str, Grid] = {}

        def keep(tensor: TensorPlan, grid: Grid) -> None:
            assert tensor.spec.name not in grids, "each tensor is handed out once"
            grids[tensor.spec.name] = grid

        report = quantize_with_drift(
            model,
            self.text,
            self.plan,
            self.weights.read,
            self.quantize,
            spool=self.spool,
            on_tensor=keep,
            threads=threads,
        )
        return grids, report


MakeCase = Callable[[str], Case]
