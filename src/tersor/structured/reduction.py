"""A smaller model made from a larger one: choose what goes, cut it out, fit what stays."""

from __future__ import annotations

import copy
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import nn

from tersor.calibrate.batches import Batch, make_batches
from tersor.calibrate.objective import Objective, choose_objective
from tersor.calibrate.text import CalibrationText
from tersor.errors import UsageError
from tersor.recovery.training import split_batches
from tersor.structured.anatomy import Anatomy, Attention, FeedForward, find_anatomy
from tersor.structured.configuration import Described, build, changes, describe
from tersor.structured.heads import input_rows, keep_groups
from tersor.structured.layers import check_layers, choose_layers, drop_layers, n_dropped
from tersor.structured.projections import keep_inputs, keep_outputs
from tersor.structured.refit import Kept, refit
from tersor.structured.scores import Scores, fisher_scores, magnitudes
from tersor.structured.steps import StructuredStep
from tersor.structured.width import hidden_width, keep_channels, kept_width

BATCH_TOKENS = 1024
# Of the search for layers, which passes it through the model once per layer tried.
LAYER_TOKENS = 2048

Progress = Callable[[float, float, str], None]


@dataclass(slots=True)
class Reduction:
    """A smaller model and what describes it.

    model: float32, in evaluation mode. config_changes: entries of config.json. module_shapes: what config.json cannot
        say: heads of attention layers, by module ("tersor_modules"); {} if it says everything.
    layers: numbers, in the original, of the layers that stay. channels: of the hidden states that stay; None: all.
    report: what was removed, and how far the output moved.
    """

    model: Any
    config_changes: dict[str, Any]
    module_shapes: dict[str, dict[str, int]]
    layers: list[int]
    channels: list[int] | None
    report: dict[str, Any] = field(default_factory=dict)


def reduce(
    model: nn.Module,
    text: CalibrationText,
    steps: Sequence[StructuredStep],
    *,
    refit: bool = True,
    seed: int = 0,
    progress: Progress | None = None,
) -> Reduction:
    """Remove layers, heads, neurons or channels, in the order of `steps`, and fit what stays to the original's outputs.

    model: any transformers model with one stack of layers, float32, on the CPU; unchanged after.
    text: decides what goes, by how far the output moves, and what the rest is fitted to.
    refit: least squares; without it the remaining weights are the original's.
    progress: called with (done, total, what).
    Deterministic for a seed, with torch on one thread inside.
    Raises: UsageError naming the module if the model is laid out in a way that is not known, or a step removes all or
        nothing.
    """
    if not steps:
        raise UsageError("structured pruning needs at least one step: layers, heads, neurons or width")
    return _Reducer(model, text, seed, progress or (lambda done, total, what: None)).run(steps, refit)


class _Reducer:
    def __init__(self, model: Any, text: CalibrationText, seed: int, progress: Progress) -> None:
        self._original = model
        self._model = copy.deepcopy(model)
        self._batches = make_batches(text.sequences, BATCH_TOKENS)
        self._objective = choose_objective(model, self._batches[0])
        self._seed = seed
        self._progress = progress
        self._before = find_anatomy(model)
        self._layers = list(range(len(self._before.blocks)))
        self._groups = [
            _all(block.attention.n_key_value_heads if block.attention else 0) for block in self._before.blocks
        ]
        self._neurons = [
            _all(block.feed_forward.n_neurons if block.feed_forward else 0) for block in self._before.blocks
        ]
        self._channels: torch.Tensor | None = None
        self._described = Described(model.config, {})
        self._report: dict[str, Any] = {"steps": []}

    def run(self, steps: Sequence[StructuredStep], fit: bool) -> Reduction:
        actions = {
            "layers": self._drop_layers,
            "heads": self._remove_heads,
            "neurons": self._remove_neurons,
            "width": self._remove_channels,
        }
        for step in steps:
            layers = self._layers
            actions[step.kind](find_anatomy(self._model), step.values)
            self._rebuild([layers.index(layer) for layer in self._layers])
        if fit:
            # Of the same text, recovery holds out the same batches: what it measures there is new to both.
            _, fitted = split_batches(len(self._batches))
            report = refit(
                self._model,
                self._original,
                [self._batches[number] for number in fitted],
                Kept(self._layers, self._kept_outputs(), self._channels),
                progress=lambda done, total: self._progress(done, total, "fitting what is left"),
            )
            self._report["refit"] = report.to_json()
        return self._reduction()

    def _rebuild(self, kept_layers: list[int]) -> None:
        """A model that transformers would build from the configuration, in place of the one that was cut."""
        self._described = describe(self._model, find_anatomy(self._model), kept_layers)
        self._model = build(self._model, self._described)

    def _drop_layers(self, anatomy: Anatomy, values: dict[str, Any]) -> None:
        check_layers(self._model, anatomy)
        n_layers = len(anatomy.blocks)
        entry: dict[str, Any] = {"kind": "layers"}
        if values["keep"] is not None:
            kept = list(values["keep"])
            if kept[-1] >= n_layers or len(kept) == n_layers:
                raise UsageError(
                    f"step 'layers': keep={kept} of a model whose layers are 0..{n_layers - 1}; needed: some of them"
                )
        else:
            batches, objective = self._sample(LAYER_TOKENS), self._objective_of(self._model)
            choice = choose_layers(
                self._model,
                anatomy,
                batches,
                objective,
                n_dropped(n_layers, values["share"]),
                lambda done, total: self._progress(done, total, "choosing layers"),
            )
            kept, entry["losses"] = choice.kept, choice.losses
        drop_layers(self._model, anatomy, kept)
        self._layers = [self._layers[layer] for layer in kept]
        self._report["steps"].append({**entry, "kept": list(self._layers)})

    def _remove_heads(self, anatomy: Anatomy, values: dict[str, Any]) -> None:
        attentions = anatomy.attentions()
        scores = self._scores(anatomy, attentions, values["score"])
        for layer, attention, found in zip(self._layers, attentions, scores, strict=True):
            kept = _best(found, values["share"], f"step 'heads': {attention.module}", "groups of heads")
            keep_groups(self._model, attention, kept)
            self._groups[layer] = self._groups[layer][kept]
        self._report["steps"].append(
            {"kind": "heads", "kept": {layer: self._groups[layer].tolist() for layer in self._layers}}
        )

    def _remove_neurons(self, anatomy: Anatomy, values: dict[str, Any]) -> None:
        parts = anatomy.feed_forwards()
        scores = self._scores(anatomy, parts, values["score"])
        for layer, part, found in zip(self._layers, parts, scores, strict=True):
            kept = _best(found, values["share"], f"step 'neurons': {part.output}", "neurons")
            for name in part.inputs:
                keep_outputs(self._model.get_submodule(name), kept)
            keep_inputs(self._model.get_submodule(part.output), kept)
            self._neurons[layer] = self._neurons[layer][kept]
        self._report["steps"].append(
            {"kind": "neurons", "kept": {layer: len(self._neurons[layer]) for layer in self._layers}}
        )

    def _remove_channels(self, anatomy: Anatomy, values: dict[str, Any]) -> None:
        width = hidden_width(self._model, anatomy)
        n_kept = kept_width(width, values["share"], int(self._model.config.num_attention_heads))
        scores = self._fisher(anatomy).channels
        assert scores is not None, "every model has blocks"
        kept = scores.topk(n_kept).indices.sort().values
        keep_channels(self._model, anatomy, kept)
        self._channels = kept if self._channels is None else self._channels[kept]
        self._report["steps"].append({"kind": "width", "kept": len(kept)})

    def _scores(
        self, anatomy: Anatomy, parts: Sequence[Attention | FeedForward], kind: str
    ) -> list[torch.Tensor]:
        if kind == "magnitude":
            return [magnitudes(self._model, part) for part in parts]
        scores = self._fisher(anatomy).inputs
        return [scores[part.output] for part in parts]

    def _fisher(self, anatomy: Anatomy) -> Scores:
        self._progress(0, 1, "scoring what can be removed")
        return fisher_scores(self._model, anatomy, self._batches, self._objective_of(self._model), self._seed)

    def _objective_of(self, model: nn.Module) -> Objective:
        return choose_objective(model, self._batches[0])

    def _sample(self, n_tokens: int) -> list[Batch]:
        total = sum(int(batch.mask.sum()) for batch in self._batches)
        stride = max(1, total // n_tokens)
        return self._batches[stride // 2 :: stride] or self._batches[:1]

    def _kept_outputs(self) -> dict[str, torch.Tensor]:
        """Rows of the original's layers that the smaller model still has."""
        found = {}
        for layer in self._layers:
            block = self._before.blocks[layer]
            if block.attention is not None:
                found.update(input_rows(block.attention, self._groups[layer]))
            if block.feed_forward is not None:
                found.update(dict.fromkeys(block.feed_forward.inputs, self._neurons[layer]))
        return found

    def _reduction(self) -> Reduction:
        n_before, n_after = (sum(p.numel() for p in m.parameters()) for m in (self._original, self._model))
        self._report["n_params"] = [n_before, n_after]
        return Reduction(
            self._model,
            changes(self._original.config, self._described.config),
            self._described.modules,
            self._layers,
            None if self._channels is None else self._channels.tolist(),
            self._report,
        )


def _all(number: int) -> torch.Tensor:
    return torch.arange(number)


def _best(scores: torch.Tensor, share: float, where: str, what: str) -> torch.Tensor:
    """Which units stay, rising. Raises: UsageError if a share removes none or all."""
    n_kept = len(scores) - round(share * len(scores))
    if not 0 < n_kept < len(scores):
        raise UsageError(
            f"{where}: share={share} of {len(scores)} {what} removes {len(scores) - n_kept}; "
            f"needed: 1..{len(scores) - 1}"
        )
    return scores.topk(n_kept).indices.sort().values
