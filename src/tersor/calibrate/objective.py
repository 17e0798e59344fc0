"""The output that matters, how to differentiate it, and how far two outputs are apart.

Language models: the distribution of each token, compared by KL divergence (`head.py`). Other models with logits: the
distribution over classes, by KL divergence. Encoders: the mean of the last hidden state over the tokens, or each
token's hidden state, normalised, by 1 - cosine. A single logit: the number itself, by half its squared difference.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal, Protocol

import torch
from torch import nn
from torch.nn import functional

from tersor.calibrate.batches import Batch
from tersor.calibrate.model_inputs import call_model
from tersor.errors import UsageError

EncoderOutput = Literal["pooled", "tokens"]
# Up to here a normal vector is projected to the covariance of the labels; beyond it a label is sampled: cheaper.
MAX_PROJECTED_CLASSES = 4096
# Distributions over classes are softened: where the original is sure of itself, p (1 - p) is next to nothing, and an
# error that does not matter on this text may matter on the next. MiniLM on CoNLL-2003, 1.33 bits per parameter, F1
# on eng.testb: -1.17 with 1, -.81 with 2 (seed 0; drift and tuning off).
CLASS_TEMPERATURE = 2.0


class Objective(Protocol):
    """What a model is for.

    outputs: (n, width), one row per thing that is compared. distances: (n,) float64 >= 0, between two of them.
    backward: backpropagates a random direction v of the outputs, so that the gradient g of anything inside has
        E[gg'] = the Hessian of the summed distance; returns n.
    """

    def outputs(self, model: nn.Module, batch: Batch) -> torch.Tensor: ...
    def distances(self, reference: torch.Tensor, changed: torch.Tensor) -> torch.Tensor: ...
    def backward(self, model: nn.Module, batch: Batch, generator: torch.Generator) -> int: ...


@dataclass(frozen=True, slots=True)
class Embeddings:
    """Unit vectors; of sequences or of tokens."""

    of: EncoderOutput = "pooled"

    def outputs(self, model: nn.Module, batch: Batch) -> torch.Tensor:
        hidden = _hidden_state(call_model(model, batch), model)
        if hidden.ndim == 2:  # pooled by the model
            return functional.normalize(hidden.float(), dim=-1)
        mask = batch.mask if hidden.shape[1] == batch.mask.shape[1] else torch.ones(hidden.shape[:2]).bool()
        if self.of == "tokens":
            return functional.normalize(hidden[mask].float(), dim=-1)
        weights = mask[:, :, None].to(hidden.dtype)
        pooled = (hidden * weights).sum(dim=1) / weights.sum(dim=1)
        return functional.normalize(pooled.float(), dim=-1)

    def distances(self, reference: torch.Tensor, changed: torch.Tensor) -> torch.Tensor:
        # 1 - cosine of unit vectors, without its cancellation.
        reference, changed = (functional.normalize(x.double(), dim=-1) for x in (reference, changed))
        return 0.5 * (reference - changed).square().sum(dim=-1)

    def backward(self, model: nn.Module, batch: Batch, generator: torch.Generator) -> int:
        return _backward_normal(self.outputs(model, batch), generator)


@dataclass(frozen=True, slots=True)
class Distributions:
    """Log-probabilities of classes at CLASS_TEMPERATURE, per sequence or per token; distances in units of nats at 1."""

    def outputs(self, model: nn.Module, batch: Batch) -> torch.Tensor:
        logits = _logits(call_model(model, batch))
        assert logits is not None, "chosen for models with logits"
        per_token = logits.ndim == 3 and logits.shape[:2] == batch.mask.shape
        rows = logits[batch.mask] if per_token else logits.reshape(-1, logits.shape[-1])
        return functional.log_softmax(rows.float() / CLASS_TEMPERATURE, dim=-1)

    def distances(self, reference: torch.Tensor, changed: torch.Tensor) -> torch.Tensor:
        return CLASS_TEMPERATURE**2 * kl_divergence(reference, changed)

    def backward(self, model: nn.Module, batch: Batch, generator: torch.Generator) -> int:
        output = self.outputs(model, batch)
        output.backward(label_direction(output.detach().exp(), generator))  # type: ignore[no-untyped-call]
        return len(output)


@dataclass(frozen=True, slots=True)
class Numbers:
    """One number per sequence."""

    def outputs(self, model: nn.Module, batch: Batch) -> torch.Tensor:
        logits = _logits(call_model(model, batch))
        assert logits is not None, "chosen for models with logits"
        return logits.reshape(-1, 1).float()

    def distances(self, reference: torch.Tensor, changed: torch.Tensor) -> torch.Tensor:
        return 0.5 * (reference.double() - changed.double()).square().sum(dim=-1)

    def backward(self, model: nn.Module, batch: Batch, generator: torch.Generator) -> int:
        return _backward_normal(self.outputs(model, batch), generator)


def choose_objective(model: nn.Module, batch: Batch, encoder_output: EncoderOutput = "pooled") -> Objective:
    """The objective that fits what the model returns for a batch.

    Raises: UsageError if the model does not run on token ids, or its output is of no known kind.
    """
    from tersor.calibrate.head import LanguageModel, plain_head

    output = _first_call(model, batch)
    head = plain_head(model, batch)
    if head is not None:
        return LanguageModel(head)
    logits = _logits(output)
    if logits is None:
        _hidden_state(output, model)
        return Embeddings(encoder_output)
    return Numbers() if logits.shape[-1] == 1 else Distributions()


def _first_call(model: nn.Module, batch: Batch) -> Any:
    """The output for one short sequence; what a model cannot do with token ids shows here, not in the middle."""
    try:
        with torch.no_grad():
            return call_model(model, Batch(batch.ids[:1], batch.mask[:1]))
    except (TypeError, ValueError, RuntimeError, LookupError, AttributeError) as exc:
        raise UsageError(
            f"{type(model).__name__} does not run on token ids alone ({type(exc).__name__}: {exc}); calibration reads "
            "text. `tersor pack` stores any model without loss"
        ) from exc


def kl_divergence(reference: torch.Tensor, changed: torch.Tensor) -> torch.Tensor:
    """KL(reference || changed) per row of float32 log-probabilities, summed in float64."""
    return (reference.exp() * (reference - changed)).sum(dim=-1, dtype=torch.float64)


def label_direction(probabilities: torch.Tensor, generator: torch.Generator) -> torch.Tensor:
    """Gradient by log-probabilities, whose pull-back to the logits has the covariance diag(p) - pp' of the labels.

    Few classes: sqrt(p) * e with e normal; the softmax's own backward projects it. Many: a label sampled from p.
    """
    if probabilities.shape[-1] <= MAX_PROJECTED_CLASSES:
        return probabilities.sqrt() * torch.randn(probabilities.shape, generator=generator)
    labels = torch.multinomial(probabilities, 1, generator=generator)
    return torch.zeros_like(probabilities).scatter_(1, labels, 1.0)


def _backward_normal(output: torch.Tensor, generator: torch.Generator) -> int:
    output.backward(torch.randn(output.shape, generator=generator))  # type: ignore[no-untyped-call]
    return len(output)


def _logits(output: Any) -> torch.Tensor | None:
    found = next(
        (getattr(output, n, None) for n in ("logits", "prediction_logits") if hasattr(output, n)), None
    )
    return found if isinstance(found, torch.Tensor) else None


def _hidden_state(output: Any, model: nn.Module) -> torch.Tensor:
    for name in ("last_hidden_state", "sentence_embedding", "text_embeds", "pooler_output"):
        found = getattr(output, name, None)
        if isinstance(found, torch.Tensor):
            return found
    first = output[0] if isinstance(output, tuple | list) and len(output) else output
    if isinstance(first, torch.Tensor) and first.ndim in (2, 3):
        return first
    fields = ", ".join(output) if hasattr(output, "keys") else type(output).__name__
    raise UsageError(
        f"{type(model).__name__} returns {fields}; calibration needs logits or last_hidden_state. "
        'config.json names the class under "architectures"; `tersor pack` stores any model without loss'
    )
