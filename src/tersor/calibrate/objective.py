"""The output that matters, how to differentiate it, and how far two outputs are apart.

Models with logits: the distribution they predict, compared by KL divergence. Others (encoders): the mean of the last
hidden state over the tokens, normalised, compared by 1 - cosine.
"""

from __future__ import annotations

from typing import Any

import torch
from torch.nn import functional

from tersor.calibrate.batches import Batch


def output_of(model: torch.nn.Module, batch: Batch) -> torch.Tensor:
    """Log-probabilities (predictions, classes), or unit embeddings (sequences, width); one row per comparison."""
    kwargs: dict[str, Any] = {"use_cache": False} if _takes_cache(model) else {}
    output = model(**batch.inputs(), **kwargs)
    logits = getattr(output, "logits", None)
    if logits is None or logits.shape[-1] == 1:
        return _embedding(output, batch.mask)
    rows = logits[batch.mask] if logits.ndim == 3 else logits.reshape(-1, logits.shape[-1])
    return functional.log_softmax(rows.float(), dim=-1)


def is_distribution(model: torch.nn.Module, batch: Batch) -> bool:
    """Whether `output_of` gives log-probabilities."""
    with torch.no_grad():
        return bool(output_of(model, batch).max() <= 0)


def distances(reference: torch.Tensor, changed: torch.Tensor, distribution: bool) -> torch.Tensor:
    """Per row: KL(reference || changed), or 1 - cosine; float64."""
    reference, changed = reference.double(), changed.double()
    if distribution:
        return (reference.exp() * (reference - changed)).sum(dim=-1)
    return 0.5 * (
        functional.normalize(reference, dim=-1) - functional.normalize(changed, dim=-1)
    ).square().sum(dim=-1)


def random_direction(output: torch.Tensor, distribution: bool, generator: torch.Generator) -> torch.Tensor:
    """A scalar whose gradient g has E[gg'] = the Hessian of the distance: what to backpropagate.

    Log-probabilities: that of a label sampled from the model itself (Fisher information). Embeddings: their product
    with a normal vector.
    """
    if distribution:
        labels = torch.multinomial(output.detach().exp(), 1, generator=generator)
        return output.gather(1, labels).sum()
    return (output * torch.randn(output.shape, generator=generator)).sum()


def _embedding(output: Any, mask: torch.Tensor) -> torch.Tensor:
    hidden = getattr(output, "last_hidden_state", None)
    if hidden is None:
        hidden = output.logits[:, None, :] if hasattr(output, "logits") else output[0]
    weights = mask[:, :, None].to(hidden.dtype) if hidden.shape[1] == mask.shape[1] else torch.ones(1, 1, 1)
    pooled = (hidden * weights).sum(dim=1) / weights.sum(dim=1)
    return functional.normalize(pooled.float(), dim=-1)


def _takes_cache(model: torch.nn.Module) -> bool:
    return getattr(getattr(model, "config", None), "use_cache", None) is not None
