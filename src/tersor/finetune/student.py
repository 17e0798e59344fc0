"""The model that is trained, and which of its parameters are."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import nn


class Student(nn.Module):
    """Wraps a model so that checkpoints hold what is trained and nothing else: frozen codes need no copies.

    trained: name -> parameter of the model, each once; all others stop requiring gradients.
    """

    def __init__(self, model: Any, trained: Mapping[str, nn.Parameter]) -> None:
        super().__init__()
        self.model = model
        self._trained = dict(trained)
        model.requires_grad_(False)
        for parameter in self._trained.values():
            parameter.requires_grad_(True)

    def forward(
        self, input_ids: torch.Tensor, attention_mask: torch.Tensor, output_hidden_states: bool = False
    ) -> Any:
        return self.model(
            input_ids=input_ids, attention_mask=attention_mask, output_hidden_states=output_hidden_states
        )

    def state_dict(self, *_: Any, **__: Any) -> dict[str, torch.Tensor]:  # type: ignore[override]
        """The trained parameters by name."""
        return {name: parameter.detach() for name, parameter in self._trained.items()}

    def load_state_dict(
        self, state: Mapping[str, torch.Tensor], strict: bool = True, assign: bool = False
    ) -> Any:
        """Put back what `state_dict` gave. Raises: KeyError for a name that is missing."""
        with torch.no_grad():
            for name, parameter in self._trained.items():
                parameter.copy_(state[name])
        return nn.modules.module._IncompatibleKeys([], [])  # what torch's own method returns


def all_parameters(model: nn.Module) -> dict[str, nn.Parameter]:
    """Every parameter of a model once, by its first name."""
    return dict(model.named_parameters())


def new_parameters(model: nn.Module, missing: Sequence[str]) -> dict[str, nn.Parameter]:
    """The parameters that a checkpoint did not hold: a head that is to be trained from nothing."""
    names = set(missing)
    return {name: parameter for name, parameter in model.named_parameters() if name in names}
