"""Row weights of every parameter that gets them, from all that was seen of it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from tersor.calibrate.head import HeadSums
from tersor.calibrate.importance import head_weights, mixed, row_weights
from tersor.calibrate.roles import ParameterRole
from tersor.calibrate.sums import LinearSums, LookupSums
from tersor.calibrate.text import CalibrationText

# An embedding of a few rows (token types) is a small tensor, not a table of frequencies.
MIN_EMBEDDING_ROWS = 16
# Rows of an expert that saw fewer tokens than its width counts on the mean of all experts by this many tokens.
EXPERT_PRIOR_TOKENS = 256.0


@dataclass(frozen=True, slots=True)
class Evidence:
    """What the passes found, by parameter name. head: name and sums of the head over the vocabulary.

    is_task: the model answers for one task, whose text is what it will see; see `importance.TASK_PRIOR_SHARE`.
    """

    text: CalibrationText
    linear: Mapping[str, LinearSums]
    lookups: Mapping[str, LookupSums]
    head: tuple[str, HeadSums] | None
    unused: Sequence[int]
    is_task: bool = False


def all_row_weights(roles: Sequence[ParameterRole], evidence: Evidence) -> dict[str, np.ndarray]:
    """Weights (rows,) of mean 1: embeddings, heads over a vocabulary, stacked experts and very wide outputs."""
    weights = {}
    for role in roles:
        found = _weights_of(role, evidence)
        if found is not None:
            weights[role.name] = found
    return weights


def _weights_of(role: ParameterRole, evidence: Evidence) -> np.ndarray | None:
    if role.kind == "embedding":
        return _embedding(role, evidence) if role.shape[0] >= MIN_EMBEDDING_ROWS else None
    if evidence.head is not None and evidence.head[0] == role.name:
        return _head(role, evidence.head[1], evidence)
    sums = evidence.linear.get(role.name)
    if sums is None or sums.row_energy is None or sums.energy <= 0:
        return None
    if role.kind == "experts":
        return _experts(sums)
    energy = sums.row_energy[0].numpy().astype(np.float64)
    return _normalised(energy + 0.1 * energy.mean())


def _embedding(role: ParameterRole, evidence: Evidence) -> np.ndarray:
    """Of its lookups; a tied one also of its products, in proportion to the energy of each."""
    lookups = evidence.lookups.get(role.name)
    counts = _counts(role, evidence)
    uses = None if lookups is None else lookups.row_count.numpy().astype(np.float64)
    head = evidence.head[1] if evidence.head is not None else None
    by_use = row_weights(
        counts if uses is None or role.is_vocabulary else uses,
        None if lookups is None else lookups.row_energy.numpy().astype(np.float64),
        uses=uses,
        is_vocabulary=role.is_vocabulary,
        is_task=evidence.is_task,
        unused=_known(role, evidence),
        predicted=head.probability.numpy().astype(np.float64)
        if head is not None and _fits(role, head)
        else None,
    )
    shares = [(by_use, lookups.energy if lookups is not None else 1.0)]
    if evidence.head is not None and evidence.head[0] == role.name:
        shares.append((_head(role, evidence.head[1], evidence), evidence.head[1].energy))
    elif role.name in evidence.linear and (products := evidence.linear[role.name]).row_energy is not None:
        shares.append((products.row_energy[0].numpy(), products.energy))
    return _normalised(mixed(shares)) if sum(energy for _, energy in shares) > 0 else by_use


def _head(role: ParameterRole, head: HeadSums, evidence: Evidence) -> np.ndarray:
    variance = head.variance.numpy().astype(np.float64)
    return head_weights(variance, _counts(role, evidence), _known(role, evidence))


def _experts(sums: LinearSums) -> np.ndarray:
    """Energy of each expert's rows per token it saw, shrunk to the mean of all experts; by the share of its tokens."""
    assert sums.row_energy is not None and sums.tokens_of_part is not None
    energy = sums.row_energy.numpy().astype(np.float64)  # (experts, rows)
    tokens = sums.tokens_of_part.numpy().astype(np.float64)[:, None]
    mean = energy.sum(axis=0) / max(tokens.sum(), 1.0)
    per_token = (energy + EXPERT_PRIOR_TOKENS * mean) / (tokens + EXPERT_PRIOR_TOKENS)
    # An expert that the text hardly reached may be what another text needs: a tenth of the mean at least.
    share = np.maximum(tokens, 0.1 * tokens.mean())
    weights = (per_token * share).reshape(-1)
    return _normalised(weights + 0.1 * weights.mean())


def _counts(role: ParameterRole, evidence: Evidence) -> np.ndarray:
    return evidence.text.uses(role.shape[0]) if role.is_vocabulary else np.zeros(role.shape[0])


def _known(role: ParameterRole, evidence: Evidence) -> list[int]:
    return [token for token in evidence.unused if token < role.shape[0]]


def _fits(role: ParameterRole, head: HeadSums) -> bool:
    return role.is_vocabulary and len(head.probability) == role.shape[0]


def _normalised(weights: np.ndarray) -> np.ndarray:
    return np.asarray(weights / weights.mean(), np.float64)
