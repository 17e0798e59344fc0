"""Whether a model predicts each token from those before it only."""

from __future__ import annotations

from typing import Any

import torch

from tersor.errors import UsageError

_PROBE_TOKENS = 16


def require_causal(model: Any, text: torch.Tensor) -> None:
    """Raise UsageError if a later token changes the prediction at an earlier position.

    text: int64 (1, length), length >= 2. A masked language model (BERT) loads as a causal one without complaint,
    sees the token that it should predict, and gets a meaningless perplexity.
    """
    probe = text[:, :_PROBE_TOKENS].to(model.device)
    changed = probe.clone()
    changed[0, -1] = 0 if int(probe[0, -1]) != 0 else 1
    with torch.inference_mode():
        before = model(input_ids=probe).logits[0, :-1].float()
        after = model(input_ids=changed).logits[0, :-1].float()
    # Loose: half-precision kernels may round differently; a token that is seen changes logits far more.
    if not torch.allclose(before, after, rtol=1e-2, atol=1e-2):
        raise UsageError(
            f"{model.config.name_or_path}: {type(model).__name__} sees the tokens that it should predict "
            "(it is no causal language model); use --task embedding"
        )
