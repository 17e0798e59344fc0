"""Calling a model the way calibration needs it."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import nn

from tersor.calibrate.batches import Batch


def call_model(model: nn.Module, batch: Batch) -> Any:
    """The model's output for a batch; encoder-decoders read it and are asked to write it again."""
    inputs: dict[str, Any] = batch.inputs()
    config = getattr(model, "config", None)
    if getattr(config, "use_cache", None) is not None:
        inputs["use_cache"] = False
    if getattr(config, "is_encoder_decoder", False):
        inputs["decoder_input_ids"] = _shifted(batch.ids, _start_id(config))
    return model(**inputs)


@contextmanager
def frozen(model: nn.Module) -> Iterator[None]:
    """Evaluation mode, no gradients for the parameters, experts computed one by one; all restored after."""
    was_training = [module for module in model.modules() if module.training]
    trainable = [parameter for parameter in model.parameters() if parameter.requires_grad]
    config = getattr(model, "config", None)
    experts = getattr(config, "_experts_implementation", None)
    for parameter in trainable:
        parameter.requires_grad_(False)
    model.eval()
    if experts is not None:
        config._experts_implementation = "eager"  # type: ignore[union-attr]
    try:
        yield
    finally:
        if experts is not None:
            config._experts_implementation = experts  # type: ignore[union-attr]
        for module in was_training:
            module.training = True
        for parameter in trainable:
            parameter.requires_grad_(True)


def _shifted(ids: torch.Tensor, start: int) -> torch.Tensor:
    """Each token is predicted from those before it: a start token first, the last one left out."""
    return torch.cat([torch.full_like(ids[:, :1], start), ids[:, :-1]], dim=1)


def _start_id(config: Any) -> int:
    for name in ("decoder_start_token_id", "bos_token_id", "pad_token_id"):
        found = getattr(config, name, None)
        if isinstance(found, int):
            return found
    return 0
