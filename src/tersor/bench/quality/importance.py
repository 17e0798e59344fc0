"""Mean squares of what goes into each linear layer: llama.cpp's importance matrix."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import torch

from tersor.calibrate import CalibrationText, parameter_roles


def input_mean_squares(model: Any, text: CalibrationText) -> dict[str, np.ndarray]:
    """float32 (inputs,) by parameter name, over all tokens of the text; parameters that nothing reached are absent."""
    sums: dict[str, torch.Tensor] = {}
    counts: dict[str, int] = {}

    def hook(parameter: str) -> Callable[[Any, tuple[torch.Tensor, ...], Any], None]:
        def add(_module: Any, inputs: tuple[torch.Tensor, ...], _output: Any) -> None:
            flat = inputs[0].detach().reshape(-1, inputs[0].shape[-1])
            sums[parameter] = sums.get(parameter, torch.zeros(flat.shape[1])) + flat.square().sum(0)
            counts[parameter] = counts.get(parameter, 0) + len(flat)

        return add

    modules = dict(model.named_modules())
    handles = [
        modules[module].register_forward_hook(hook(role.name))
        for role in parameter_roles(model).values()
        if role.kind in ("linear", "conv1d")
        for module in role.modules
    ]
    try:
        with torch.inference_mode():
            for sequence in text.sequences:
                model(input_ids=torch.tensor([sequence]))
    finally:
        for handle in handles:
            handle.remove()
    return {name: (total / counts[name]).numpy() for name, total in sums.items()}
