"""What single steps of a recipe cost: measured after each step that says `evaluate:`, against the original."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from tersor.pipeline.loss import LossMeter
from tersor.recipe import Recipe, Step
from tersor.recipe.loss import Metric


class StepMeter:
    """Measures models after steps. rows: what was measured, in the order of the recipe's steps."""

    def __init__(self, recipe: Recipe, original: Any, held_out: Sequence[Sequence[int]], spool: Path) -> None:
        """original: the model. held_out: text that calibration does not see. spool: a folder that is made if needed."""
        self._steps = recipe.all_steps
        self._meters: dict[str, LossMeter] = {}
        self._found: dict[int, dict[str, Any]] = {}
        metrics: list[Metric] = [step.evaluate for step in self._steps if step.evaluate is not None]  # type: ignore[misc]
        for metric in metrics:
            if metric not in self._meters:
                spool.mkdir(exist_ok=True)
                self._meters[metric] = LossMeter(original, held_out, metric, spool / metric)

    @property
    def rows(self) -> list[dict[str, Any]]:
        """{"step", "metric", "value", "stderr", "n"} of each step that was measured."""
        return [self._found[number] for number in sorted(self._found)]

    def numbers(self, steps: Sequence[Step]) -> list[int]:
        """The numbers, in the recipe, of those of some steps that shall be measured."""
        return [n for n, step in enumerate(self._steps) if step.evaluate is not None and step in steps]

    def left(self) -> list[int]:
        """The numbers of the steps that shall be measured and are not yet."""
        return [n for n, step in enumerate(self._steps) if step.evaluate is not None and n not in self._found]

    def prefix(self, number: int) -> tuple[Step, ...]:
        """The steps up to one, itself included."""
        return self._steps[: number + 1]

    def measure(self, number: int, model: Any) -> None:
        """Measure the model after a step, one of `numbers`."""
        step = self._steps[number]
        assert step.evaluate is not None, "numbers are of steps that say what to measure"
        loss = self._meters[step.evaluate].measure(model)
        self._found[number] = {
            "step": step.to_plain(),
            "metric": loss.metric,
            "value": loss.value,
            "stderr": loss.stderr,
            "n": loss.n,
        }
