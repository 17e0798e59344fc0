"""Quantization block by block, each linear layer corrected for what the layers before it have changed.

In the order of execution, every linear layer is seen twice on the same text: in the original model (inputs x') and in
the model quantized so far (inputs x). Its output has drifted by W (x' - x), and by what the hidden states have drifted
that its output is added to. A ridge regression of that drift on [x, 1] is partly added to W before W is quantized, and
the mean error that then remains goes into the bias. Worth it where steps are coarse: about 2 bits and below.

Related: GPTAQ, arXiv:2504.02692 (they change the feedback; we change the weight, and count the residual stream).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import torch
from torch import nn

from tersor.calibrate.batches import Batch, make_batches
from tersor.calibrate.model_inputs import frozen
from tersor.calibrate.text import CalibrationText
from tersor.calibrate.threads import single_thread
from tersor.calibrate.workers import OrderedWorkers
from tersor.layouts.grid import Grid
from tersor.planner.plan import Plan, TensorPlan
from tersor.recovery.blocks import BlockStack, Entry, find_stacks, record_entries, record_entry
from tersor.recovery.correction import DriftSums, correction, mean_error
from tersor.recovery.parameters import PlannedParameters, as_matrix, dense_of, from_matrix
from tersor.recovery.spool import SeenSpool
from tersor.recovery.stages import Seen, Stage, find_stages, watch_stage, watch_stages

BATCH_TOKENS = 1024
WAITING_BYTES = 64 << 20  # of activations that wait to be summed up

ReadTensor = Callable[[str], np.ndarray]
Quantize = Callable[[TensorPlan, np.ndarray], Grid]
OnTensor = Callable[[TensorPlan, Grid], None]
Progress = Callable[[int, int], None]


@dataclass(slots=True)
class DriftReport:
    """n_corrected: linear layers quantized with a correction. notes: what could not be corrected, and why."""

    n_corrected: int = 0
    notes: list[str] = field(default_factory=list)

    def to_json(self) -> dict[str, object]:
        """Plain values for the archive's provenance."""
        return {"n_corrected": self.n_corrected, "notes": list(self.notes)}


def quantize_with_drift(
    model: nn.Module,
    text: CalibrationText,
    plan: Plan,
    read: ReadTensor,
    quantize: Quantize,
    *,
    spool: Path,
    on_tensor: OnTensor,
    threads: int = 1,
    progress: Progress | None = None,
) -> DriftReport:
    """Quantize every tensor of `plan` that is quantized, in the order in which the model uses them.

    model: loaded from the checkpoint, float32, on the CPU. Afterwards it holds the dequantized values: there is no
        second copy of it.
    read: the original array of a tensor by its checkpoint name.
    quantize: called once per tensor with float32 values in the tensor's own shape, which are the original ones or
        corrected ones.
    on_tensor: takes each grid; in the order of execution, not of the plan.
    spool: a folder for one block's activations; its files are left to the caller.
    progress: called with (done, total).
    threads: that sum up what is seen, beside the one that runs the model; change speed only.
    Deterministic, with torch on one thread in each.
    A model whose blocks cannot be followed is quantized as without correction, and the report says why.
    """
    batches = make_batches(text.sequences, BATCH_TOKENS)
    workers = OrderedWorkers(threads, WAITING_BYTES)
    with single_thread(), frozen(model), torch.no_grad(), workers:
        walk = _Walk(model, plan, read, quantize, on_tensor, batches, SeenSpool(spool), workers)
        return walk.run(progress or (lambda done, total: None))


@dataclass(slots=True)
class _Stream:
    """One batch on its way through a stack: the hidden states of the original and of the quantized model."""

    batch: Batch
    original: Entry
    quantized: Entry


class _Walk:
    """One pass over the model."""

    def __init__(
        self,
        model: nn.Module,
        plan: Plan,
        read: ReadTensor,
        quantize: Quantize,
        on_tensor: OnTensor,
        batches: list[Batch],
        spool: SeenSpool,
        workers: OrderedWorkers,
    ) -> None:
        self._model = model
        self._plan = plan
        self._read = read
        self._quantize = quantize
        self._on_tensor = on_tensor
        self._batches = batches
        self._spool = spool
        self._workers = workers
        self._parameters = PlannedParameters(model, plan)
        self._report = DriftReport()

    def run(self, progress: Progress) -> DriftReport:
        stacks, problems = find_stacks(self._model, self._batches[0])
        self._report.notes += problems
        if not stacks:
            self._report.notes.append("no blocks found: quantized without drift correction")
        n_blocks = sum(len(stack.blocks) for stack in stacks)
        originals = [record_entries(self._model, stacks, batch) for batch in self._batches] if stacks else []
        self._quantize_outside(stacks)
        n_done = 0
        for number, stack in enumerate(stacks):
            streams = [
                _Stream(batch, entries[number], record_entry(self._model, stack, batch, entries[number]))
                for batch, entries in zip(self._batches, originals, strict=True)
            ]
            for index in range(len(stack.blocks)):
                self._block(stack, index, streams)
                n_done += 1
                progress(n_done, n_blocks)
        return self._report

    def _quantize_outside(self, stacks: list[BlockStack]) -> None:
        """Embeddings, heads and whatever else is in no block, as they are."""
        prefixes = tuple(stack.prefix(index) for stack in stacks for index in range(len(stack.blocks)))
        for tensor in self._plan.tensors:
            if tensor.is_quantized and not (tensor.parameter or "").startswith(prefixes):
                self._plain(tensor, self._read(tensor.spec.name))

    def _plain(self, tensor: TensorPlan, values: np.ndarray) -> np.ndarray:
        """Quantize values, hand the grid out and put what it stands for into the model."""
        grid = self._quantize(tensor, np.ascontiguousarray(values, np.float32))
        self._on_tensor(tensor, grid)
        dense = dense_of(grid, tensor)
        if tensor.parameter is not None:
            self._parameters.set(tensor.parameter, dense)
        return dense

    def _block(self, stack: BlockStack, index: int, streams: list[_Stream]) -> None:
        block, prefix = stack.blocks[index], stack.prefix(index)
        stages = self._stages(block, prefix, index, streams[0])
        for number, stream in enumerate(streams):
            seen, hidden = watch_stages(block, stream.original.calls[index], stream.original.hidden, stages)
            self._spool.put(number, seen)
            stream.original.hidden = hidden
        corrected = {f"{prefix}{linear.name}." for stage in stages for linear in stage.linears}
        for name in self._parameters.names_under(prefix):
            if name.rpartition(".")[0] + "." not in corrected:
                tensor = self._parameters.tensors[name]
                self._plain(tensor, self._read(tensor.spec.name))
        for number, stage in enumerate(stages):
            self._stage(block, prefix, stage, self._sums(block, index, number, stage, streams))
        for stream in streams:
            call = stream.quantized.calls[index]
            stream.quantized.hidden = call.run(block, stream.quantized.hidden)

    def _stages(self, block: nn.Module, prefix: str, index: int, stream: _Stream) -> list[Stage]:
        """The block's stages, without linear layers whose weight no step touches or another module holds."""
        found = find_stages(block, stream.original.calls[index], stream.original.hidden)
        kept = (
            tuple(linear for linear in stage.linears if self._is_correctable(f"{prefix}{linear.name}.weight"))
            for stage in found
        )
        return [Stage(linears) for linears in kept if linears]

    def _is_correctable(self, name: str) -> bool:
        tensor = self._parameters.tensors.get(name)
        return tensor is not None and not tensor.is_fixed and len(tensor.spec.shape) == 2

    def _sums(
        self, block: nn.Module, index: int, number: int, stage: Stage, streams: list[_Stream]
    ) -> DriftSums:
        sums: DriftSums | None = None
        for stream_number, stream in enumerate(streams):
            before = self._spool.get(number, stream_number, stage)
            now = watch_stage(block, stream.quantized.calls[index], stream.quantized.hidden, stage)
            if sums is None:
                sums = DriftSums.zeros(now.inputs.shape[-1])
            self._add(sums, stream.batch.mask, now, before)
        self._workers.finish()
        assert sums is not None, "a text has at least one batch"
        return sums

    def _add(self, sums: DriftSums, mask: torch.Tensor, now: Seen, before: Seen) -> None:
        residual_drift = {
            point: before.residuals[point][mask] - now.residuals[point][mask] for point in now.residuals
        }
        sums.add(self._workers, now.inputs[mask], before.inputs[mask], residual_drift)

    def _stage(self, block: nn.Module, prefix: str, stage: Stage, sums: DriftSums) -> None:
        solver = sums.solver()
        for linear in stage.linears:
            name = f"{prefix}{linear.name}"
            tensor = self._parameters.tensors[f"{name}.weight"]
            weight = as_matrix(np.array(self._read(tensor.spec.name), np.float32), tensor)
            changed = weight + correction(sums, solver, weight, linear.residual)
            quantized = as_matrix(self._plain(tensor, from_matrix(changed, tensor)), tensor)
            self._report.n_corrected += 1
            self._bias(f"{name}.bias", mean_error(sums, weight, quantized, linear.residual))

    def _bias(self, name: str, missing: torch.Tensor) -> None:
        tensor = self._parameters.tensors.get(name)
        if tensor is not None:
            original = np.asarray(self._read(tensor.spec.name), np.float32)
            self._plain(tensor, original + missing.numpy())
