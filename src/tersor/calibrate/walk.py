"""The walk: passes over the text, factors, then sensitivities."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path

import numpy as np
from torch import nn

from tersor.calibrate.batches import Batch, make_batches
from tersor.calibrate.factors import write_factors
from tersor.calibrate.head import HeadSums, LanguageModel
from tersor.calibrate.matrices import MatrixSums
from tersor.calibrate.memory import return_free_memory
from tersor.calibrate.model_inputs import frozen
from tersor.calibrate.objective import Distributions, EncoderOutput, Numbers, Objective, choose_objective
from tersor.calibrate.pass_sequence import PassSequence, choose_settings, typical_first
from tersor.calibrate.passes import Pass
from tersor.calibrate.roles import ParameterRole, parameter_roles
from tersor.calibrate.row_importance import MIN_EMBEDDING_ROWS, Evidence, all_row_weights
from tersor.calibrate.sensitivity import Probe, Sensitivities, expect_unseen, probe_groups
from tersor.calibrate.statistics import Statistics
from tersor.calibrate.text import CalibrationText
from tersor.calibrate.threads import single_thread
from tersor.calibrate.workers import OrderedWorkers
from tersor.errors import UsageError

BATCH_TOKENS = 512
# Of the probes: some 40 sentences, or as many predictions as a window has tokens.
PROBE_TOKENS = 1024
PROBE_TOKENS_OF_DECODERS = 512
MIN_SEQUENCES_TO_SPLIT = 16
# Sums in memory; the rest in files. Inputs and gradients that wait for a worker.
MEMORY_BYTES = 32 << 20
QUEUE_BYTES = 16 << 20

Progress = Callable[[str, int, int], None]


def collect(
    model: nn.Module,
    text: CalibrationText,
    spool: Path,
    *,
    seed: int = 0,
    unused: Sequence[int] = (),
    with_gradients: bool = True,
    encoder_output: EncoderOutput = "pooled",
    threads: int = 1,
    memory_bytes: int = MEMORY_BYTES,
    resumable: bool = False,
    progress: Progress | None = None,
) -> Statistics:
    """Walk `model` over `text` and return its statistics; matrices go to files in `spool`.

    model: any transformers model in float32 on the CPU; unchanged after. unused: placeholder tokens' ids.
    with_gradients: Hessians from end-to-end gradients, of inputs and outputs; False: of the inputs alone (much faster;
        embeddings get none).
    encoder_output: what an encoder is for: the mean of its token embeddings, or each of them.
    threads: more than one shares the work; the result is the same to the last bit.
    memory_bytes: sums held in memory; the others are in files of `spool` and cost a few percent of time.
    resumable: keep snapshots in `spool`, and go on from one that an interrupted call with equal arguments left there.
    progress: called with (stage, done, total).
    Deterministic for a seed, with torch on one thread inside.
    Raises: UsageError if the text is empty or the model's output is of no known kind; NonFiniteError, naming the
        parameter, if the model's activations are not finite.
    """
    if not text.n_tokens:
        raise UsageError(f"calibration text ({text.source}) holds no tokens; give a longer text")
    report: Progress = progress or (lambda stage, done, total: None)
    roles = {role.name: role for role in parameter_roles(model).values() if role.kind != "other"}
    with single_thread(), frozen(model), OrderedWorkers(threads, QUEUE_BYTES) as workers:
        objective = choose_objective(model, make_batches(text.sequences[:1], BATCH_TOKENS)[0], encoder_output)
        kept, probe_batches = _held_out(text, objective)
        settings = choose_settings(objective, roles.values(), BATCH_TOKENS, with_gradients)
        matrices = MatrixSums(spool, memory_bytes)
        passes = PassSequence(model, roles, objective, settings, matrices, workers, spool, seed)
        batches = typical_first(make_batches(kept.sequences, BATCH_TOKENS))
        last = passes.run(batches, _Counter("hessians", report), resumable)
        return_free_memory()
        head = _head(objective, last)
        found = write_factors(
            spool, roles, last.linear, last.lookups, head, matrices, settings.damping, workers
        )
        statistics = Statistics(
            spool,
            factors=found.factors,
            hessians=found.hessians,
            row_factors=found.row_factors,
            output_hessians=found.output_hessians,
            row_weights=all_row_weights(
                list(roles.values()),
                Evidence(kept, last.linear, last.lookups, head, unused, _is_task(objective)),
            ),
            input_scales=_input_scales(last),
            provenance=_provenance(text, seed),
            notes=_notes(roles, last, with_gradients),
        )
        return_free_memory()
        probe = Probe(model, objective, probe_batches, statistics, _predicted(last, head, roles), seed)
        measured = _measure(probe, workers, report)
        expect_unseen(measured, roles.values(), kept)
        passes.tidy()
    return replace(statistics, base_steps=measured.base_steps(), errors=measured.errors)


def _measure(probe: Probe, workers: OrderedWorkers, report: Progress) -> Sensitivities:
    """Sensitivities of all matrices and higher, except those of fixed precision."""
    probed = [role for role in parameter_roles(probe.model).values() if not is_small(role.shape)]
    n_probes = len(probe_groups(probed, probe.predicted))
    return probe.measure(probed, workers, partial(_Counter("sensitivities", report), n_probes))


def _head(objective: Objective, done: Pass) -> tuple[str, HeadSums] | None:
    """Name and sums of the head over the vocabulary, if there is one."""
    if not isinstance(objective, LanguageModel) or objective.sums is None:
        return None
    (name,) = done.skip_products
    return name, objective.sums


def _predicted(
    done: Pass, head: tuple[str, HeadSums] | None, roles: Mapping[str, ParameterRole]
) -> dict[str, float]:
    """s_t as the factors have it: |dW|^2 / 2 n_t per output."""
    found = {}
    for name, role in roles.items():
        energy = sum(sums[name].energy for sums in (done.linear, done.lookups) if name in sums)
        if head is not None and head[0] == name:
            energy += head[1].energy
        found[name] = energy / (2 * max(1, role.n_weights) * max(1, done.n_outputs))
    return found


def _input_scales(done: Pass) -> dict[str, np.ndarray]:
    return {name: (sums.magnitudes / max(1, sums.n_tokens)).numpy() for name, sums in done.linear.items()}


def _notes(roles: Mapping[str, ParameterRole], done: Pass, with_gradients: bool) -> tuple[str, ...]:
    return (*_missed(roles, done, with_gradients), *_shared(done))


def _missed(roles: Mapping[str, ParameterRole], done: Pass, with_gradients: bool) -> Iterator[str]:
    """A sentence about the parameters that have no statistics, if there are any."""
    seen = {*done.linear, *done.lookups, *done.skip_products}
    expected = [role for role in roles.values() if with_gradients or role.kind != "embedding"]
    missed = [role.name for role in expected if role.name not in seen and not is_small(role.shape)]
    if missed:
        shown = ", ".join(missed[:3]) + (f" and {len(missed) - 3} more" if len(missed) > 3 else "")
        yield (
            f"no statistics for {shown}: the model used them in no product on the calibration text; they are rounded "
            "to nearest"
        )


def _shared(done: Pass) -> Iterator[str]:
    """A sentence about each stack of experts."""
    for name, sums in done.linear.items():
        if sums.tokens_of_part is not None:
            rare = int((sums.tokens_of_part < sums.role.n_inputs).sum())
            yield (
                f"{name}: its {sums.role.shape[0]} experts share one input Hessian; {rare} of them saw fewer tokens "
                f"than their {sums.role.n_inputs} inputs, their rows lean on the mean of all"
            )


class _Counter:
    """Reports units of work as they are done, and tidies the memory after each."""

    def __init__(self, stage: str, report: Progress) -> None:
        self._stage, self._report = stage, report
        self._lock = threading.Lock()
        self._done = 0

    def __call__(self, total: int, n_done: int = 1) -> None:
        with self._lock:
            self._done += n_done
            return_free_memory()
            self._report(self._stage, self._done, total)


def is_small(shape: tuple[int, ...]) -> bool:
    """Vectors, scalars and matrices of a few rows: kept at a fixed precision, whatever the budget."""
    rows = int(np.prod(shape[:-1]))
    return len(shape) < 2 or rows < MIN_EMBEDDING_ROWS or 0 in shape


def _held_out(text: CalibrationText, objective: Objective) -> tuple[CalibrationText, list[Batch]]:
    """The text without the sequences of the probes, and those; a text of few sequences serves for both.

    Other text, because row steps follow the tokens of the passes: probed on these, the word embedding of MiniLM seems
    3.4 times less sensitive than it is.
    """
    if len(text.sequences) < MIN_SEQUENCES_TO_SPLIT:
        return text, make_batches(text.sequences, BATCH_TOKENS)
    wanted = PROBE_TOKENS_OF_DECODERS if isinstance(objective, LanguageModel) else PROBE_TOKENS
    stride = max(4, text.n_tokens // wanted)
    batches = make_batches(text.sequences[stride // 2 :: stride], BATCH_TOKENS)
    kept = tuple(s for i, s in enumerate(text.sequences) if i % stride != stride // 2)
    return text.keeping(kept), batches


def _is_task(objective: Objective) -> bool:
    """Whether the model answers for one task: classes or a number, of the text or of each token."""
    return isinstance(objective, Distributions | Numbers)


def _provenance(text: CalibrationText, seed: int) -> dict[str, str | int]:
    return {
        "calibration": text.source,
        "calibration_sha256": text.sha256,
        "calibration_tokens": text.n_tokens,
        "seed": seed,
    }
