"""What has to be removed so that a model runs as fast as asked: chosen by kernel times and by what it costs."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import product
from typing import Any

import torch

from tersor.calibrate import CalibrationText
from tersor.calibrate.batches import Batch, make_batches
from tersor.calibrate.objective import choose_objective
from tersor.calibrate.sampling import is_decoder
from tersor.errors import BudgetError
from tersor.lowrank import rank_for
from tersor.pipeline.job import Job
from tersor.pipeline.journal import Journal
from tersor.planner.latency import KernelTimes, LatencyModel, Shares, time_models
from tersor.recipe import Step
from tersor.structured import StructuredStep, reduce
from tersor.structured.anatomy import Anatomy, find_anatomy
from tersor.structured.projections import n_inputs, n_outputs
from tersor.structured.scores import Scores, fisher_scores

# One pass over a sequence of so many tokens is timed; of a language model one over a single token, as it generates.
N_TOKENS = 128
HEAD_SHARES = (0.0, 0.125, 0.25, 0.375, 0.5, 0.625, 0.75)
NEURON_SHARES = (0.0, 0.0625, 0.125, 0.1875, 0.25, 0.3125, 0.375, 0.5, 0.625, 0.75, 0.875)
LAYER_SHARES = (0.0, 0.125, 0.25, 0.375, 0.5)
SCORE_TOKENS = 4096
BATCH_TOKENS = 1024
# A prediction that measuring does not confirm is corrected by what was measured, so often: too slow, or so much faster
# than asked that less could have been removed.
MAX_ROUNDS = 4
GOOD = 0.93


@dataclass(frozen=True, slots=True)
class Faster:
    """steps: what is removed. seconds: of the original, of a model of the new shape, and the limit.

    notes: one sentence each, for the plan.
    """

    steps: tuple[Step, ...]
    original_seconds: float
    seconds: float
    limit_seconds: float
    limit: str
    notes: tuple[str, ...] = ()

    def to_json(self) -> dict[str, Any]:
        return {
            "limit": self.limit,
            "limit_seconds": self.limit_seconds,
            "original_seconds": self.original_seconds,
            "seconds": self.seconds,
            "steps": [step.to_plain() for step in self.steps],
            "notes": list(self.notes),
        }


def choose_faster(job: Job, model: Any, text: CalibrationText, journal: Journal | None) -> Faster:
    """The shares of layers, heads and neurons that cost least, of those with which the model keeps its time limit.

    model: the original. Times are predicted from those of its kernels, and measured on a model of the new shape.
    journal: remembers what was chosen, because times differ from run to run.
    Raises: BudgetError naming the shortest time found.
    """
    return _Search(job, model, text).run(journal)


class _Search:
    def __init__(self, job: Job, model: Any, text: CalibrationText) -> None:
        self._job, self._model, self._text = job, model, text
        self._batch = _one_batch(model, text)
        self._times = KernelTimes(int(self._batch.mask.sum()))
        job.progress(0, 1, "timing kernels")
        self._latency = LatencyModel(model, self._batch, self._times)
        limit = job.recipe.latency_limit
        assert limit is not None
        self._limit_text, self._limit = limit.text, limit.seconds(self._latency.seconds)

    def run(self, journal: Journal | None) -> Faster:
        remember = (lambda name, measure: measure()) if journal is None else journal.remember
        shares = Shares(
            remember("share of layers removed", lambda: self._found[0].layers),
            remember("share of heads removed", lambda: self._found[0].heads),
            remember("share of neurons removed", lambda: self._found[0].neurons),
        )
        seconds = remember("seconds of the smaller model", lambda: self._found[1])
        notes = () if steps_of(shares) else ("the original is as fast already",)
        return Faster(
            steps_of(shares),
            self._latency.seconds,
            seconds,
            self._limit,
            self._limit_text,
            (*notes, *self._about_factors()),
        )

    @cached_property
    def _found(self) -> tuple[Shares, float]:
        """The shares, and the seconds measured with them."""
        if self._latency.seconds <= self._limit:
            return Shares(), self._latency.seconds
        ranked, aim = self._ranked(), self._limit
        measured: dict[Shares, float] = {}
        for _ in range(MAX_ROUNDS):
            shares = next((s for s in ranked if self._latency.predict(s) <= aim), None)
            if shares is None or shares in measured:
                break
            measured[shares] = seconds = self._measure(shares)
            if GOOD * self._limit <= seconds <= self._limit:
                break
            aim *= self._limit / seconds  # what was predicted wrong, as it turned out
        fitting = [shares for shares in ranked if measured.get(shares, math.inf) <= self._limit]
        if fitting:
            return fitting[0], measured[fitting[0]]
        fastest = min(self._latency.predict(shares) for shares in ranked)
        raise BudgetError(
            f"max_latency {self._limit_text!r}: {1e3 * self._limit:.3g} ms cannot be reached on this machine; the "
            f"original takes {1e3 * self._latency.seconds:.3g} ms, the smallest model tried about "
            f"{1e3 * fastest:.3g} ms; allow at least {fastest / self._latency.seconds:.2f}x"
        )

    def _ranked(self) -> list[Shares]:
        """All candidates, by what they are predicted to cost; layers go only after everything else was tried."""
        anatomy = find_anatomy(self._model)
        costs = _Costs(anatomy, self._scores(anatomy))
        return sorted(_candidates(anatomy), key=lambda shares: (shares.layers, costs.of(shares)))

    def _scores(self, anatomy: Anatomy) -> Scores:
        self._job.progress(0, 1, "scoring what can be removed")
        batches = make_batches(_some(self._text, SCORE_TOKENS), BATCH_TOKENS)
        objective = choose_objective(self._model, batches[0])
        return fisher_scores(self._model, anatomy, batches, objective, self._job.recipe.seed)

    def _measure(self, shares: Shares) -> float:
        """Seconds of a model of the new shape, scaled by how the original fares at the same moment."""
        self._job.progress(0, 1, "timing a smaller model")
        steps = [
            StructuredStep(
                step.kind, {**step.options, **({} if step.kind == "layers" else {"score": "magnitude"})}
            )
            for step in _timed_steps(shares, find_anatomy(self._model))
        ]
        short = CalibrationText(self._text.sequences[:1], self._text.source)
        smaller = reduce(self._model, short, steps, refit=False).model
        original, seconds = time_models([self._model, smaller], self._batch)
        return seconds * self._latency.seconds / original

    def _about_factors(self) -> Iterator[str]:
        """Why matrices are not factored: what that would buy for the largest of them."""
        parts = find_anatomy(self._model).feed_forwards()
        module = self._model.get_submodule(parts[0].output)
        inputs, outputs = n_inputs(module), n_outputs(module)
        rank = rank_for((outputs, inputs), 0.5)
        whole, factored = self._times.linear(inputs, outputs), self._times.factors(inputs, outputs, rank)
        yield (
            f"a layer of {outputs}x{inputs} takes {1e6 * whole:.0f} us here, in two factors of half its parameters "
            f"{1e6 * factored:.0f} us ({factored / whole:.2f}x); removing half of its neurons would take "
            f"{1e6 * self._times.linear(inputs // 2, outputs):.0f} us: matrices are not factored for speed"
        )


class _Costs:
    """Predicted distance of the output when the least important units are removed."""

    def __init__(self, anatomy: Anatomy, scores: Scores) -> None:
        self._heads = [_cumulated(scores.inputs[part.output]) for part in anatomy.attentions()]
        self._neurons = [_cumulated(scores.inputs[part.output]) for part in anatomy.feed_forwards()]

    def of(self, shares: Shares) -> float:
        return _cost(self._heads, shares.heads) + _cost(self._neurons, shares.neurons)


def steps_of(shares: Shares) -> tuple[Step, ...]:
    """The steps of a recipe that remove these shares."""
    given = {"layers": shares.layers, "heads": shares.heads, "neurons": shares.neurons}
    return tuple(Step(kind=kind, options={"share": share}) for kind, share in given.items() if share)


def _timed_steps(shares: Shares, anatomy: Anatomy) -> list[Step]:
    """The same for a model that is only timed: which layers go is no matter there."""
    steps = list(steps_of(shares))
    n_layers = len(anatomy.blocks)
    kept = list(range(n_layers - round(shares.layers * n_layers)))
    return [Step(kind="layers", options={"keep": kept}) if s.kind == "layers" else s for s in steps]


def _candidates(anatomy: Anatomy) -> Iterator[Shares]:
    """Shares that remove something, and not everything, where they are not 0."""
    groups = min(part.n_key_value_heads for part in anatomy.attentions())
    neurons = min(part.n_neurons for part in anatomy.feed_forwards())
    for shares in product(
        _possible(LAYER_SHARES, len(anatomy.blocks)),
        _possible(HEAD_SHARES, groups),
        _possible(NEURON_SHARES, neurons),
    ):
        if any(shares):
            yield Shares(*shares)


def _possible(shares: Sequence[float], n_units: int) -> list[float]:
    return [share for share in shares if not share or 0 < round(share * n_units) < n_units]


def _cumulated(scores: torch.Tensor) -> torch.Tensor:
    """[k]: the cost of the k least important units."""
    ordered = scores.double().sort().values
    return torch.cat([torch.zeros(1, dtype=torch.float64), ordered.cumsum(0)])


def _cost(cumulated: list[torch.Tensor], share: float) -> float:
    return float(sum(costs[round(share * (len(costs) - 1))] for costs in cumulated))


def _some(text: CalibrationText, n_tokens: int) -> list[Any]:
    """Evenly spaced sequences of about n_tokens."""
    stride = max(1, text.n_tokens // n_tokens)
    return list(text.sequences[::stride])


def _one_batch(model: Any, text: CalibrationText) -> Batch:
    """What is timed: one sequence."""
    tokens = [token for sequence in text.sequences for token in sequence]
    n_tokens = 1 if is_decoder(model) else min(N_TOKENS, _longest(model), len(tokens))
    return make_batches([tokens[:n_tokens]], BATCH_TOKENS)[0]


def _longest(model: Any) -> int:
    """The most tokens that the model takes."""
    return int(getattr(getattr(model, "config", None), "max_position_embeddings", None) or N_TOKENS)
