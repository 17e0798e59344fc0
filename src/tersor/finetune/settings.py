"""What a training run is told: one flat set of numbers, checked before anything is loaded."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields, replace
from typing import Any, Literal

from tersor.errors import UsageError
from tersor.registry import did_you_mean

Mode = Literal["small", "codes"]
MODES: tuple[Mode, ...] = ("small", "codes")
TRACKERS = ("none", "tensorboard", "wandb")


@dataclass(frozen=True, slots=True)
class Settings:
    """Hyperparameters of one training run.

    epochs: of the training data; max_steps: if > 0, counts instead. Both 0 in the first stage: the model is trained for
        the task already. batch_size: sequences.
    learning_rate: of all weights; head_rate, step_rate: factors on it for a new head and for the steps of grids.
    warmup: share of the steps over which the rate rises; it then falls in a straight line.
    weight_decay: of matrices. max_length: tokens of a window; stride: tokens that windows share.
    patience: evaluations without a better one before training stops. evaluations: per epoch.
    distill: weight of the distance to the teacher's outputs, labels: of the loss by labels, hidden: of the squared
        distance of hidden states. temperature: of the distillation.
    gains: frozen codes get a factor per row where their grid has no scales yet, for 2 bytes a row.
    rate: weight of the codes' estimated bits per weight in the loss (0: none).
    requantize: trained codes without ends (two_sided, gptq) are made anew with error feedback from the trained weights;
        false: each is rounded where it is.
    bf16: products of matrices in bfloat16; None: where the processor multiplies them faster.
    """

    epochs: float = 6.0
    max_steps: int = 0
    batch_size: int = 32
    learning_rate: float = 2e-4
    head_rate: float = 5.0
    step_rate: float = 0.1
    warmup: float = 0.06
    weight_decay: float = 0.01
    max_grad_norm: float = 1.0
    max_length: int = 256
    stride: int = 64
    patience: int = 3
    evaluations: int = 1
    distill: float = 1.0
    labels: float = 1.0
    hidden: float = 0.0
    temperature: float = 2.0
    gains: bool = False
    rate: float = 0.0
    requantize: bool = True
    bf16: bool | None = None

    def to_json(self) -> dict[str, Any]:
        """Plain values."""
        return asdict(self)


# Range of each number, low and high included.
_RANGES: dict[str, tuple[float, float]] = {
    "epochs": (0.0, 10_000),
    "max_steps": (0, 10**9),
    "batch_size": (1, 65536),
    "learning_rate": (1e-9, 1.0),
    "head_rate": (1e-3, 1e3),
    "step_rate": (0.0, 1e3),
    "warmup": (0.0, 1.0),
    "weight_decay": (0.0, 1.0),
    "max_grad_norm": (0.0, 1e6),
    "max_length": (4, 1 << 20),
    "stride": (0, 1 << 20),
    "patience": (0, 10**6),
    "evaluations": (1, 1000),
    "distill": (0.0, 1e3),
    "labels": (0.0, 1e3),
    "hidden": (0.0, 1e3),
    "temperature": (0.1, 100.0),
    "rate": (0.0, 1e3),
}
_FLAGS = {
    "bf16": "true, false or none (by the processor)",
    "gains": "true or false",
    "requantize": "true or false",
}
_WHOLE = frozenset({"max_steps", "batch_size", "max_length", "stride", "patience", "evaluations"})


def changed(defaults: Settings, given: Mapping[str, Any]) -> Settings:
    """The defaults with what is given in their place.

    Raises: UsageError naming the setting, what it needs, and what was got.
    """
    names = [item.name for item in fields(Settings)]
    checked: dict[str, Any] = {}
    for name, value in given.items():
        if name not in names:
            raise UsageError(
                f"no setting {name!r} of training{did_you_mean(name, names)} Settings: {', '.join(names)}."
            )
        checked[name] = _checked(name, value)
    settings = replace(defaults, **checked)
    if settings.stride >= settings.max_length:
        raise UsageError(
            f"setting stride={settings.stride} needs less than max_length={settings.max_length}: windows would not move"
        )
    if settings.distill + settings.labels + settings.hidden == 0:
        raise UsageError("settings distill, labels and hidden are all 0: nothing is left to train on")
    return settings


def parse_assignments(assignments: tuple[str, ...]) -> dict[str, Any]:
    """`("epochs=3", ...)` -> {"epochs": 3.0}. Raises: UsageError for what is no NAME=VALUE."""
    found: dict[str, Any] = {}
    for text in assignments:
        name, sign, value = text.partition("=")
        if not sign or not name.strip():
            raise UsageError(f"--set {text}: needs NAME=VALUE, such as epochs=3")
        found[name.strip()] = _parsed(value.strip())
    return found


def _parsed(text: str) -> Any:
    words = {"true": True, "false": False, "none": None}
    if text.lower() in words:
        return words[text.lower()]
    for kind in (int, float):
        try:
            return kind(text)
        except ValueError:
            continue
    return text


def _checked(name: str, value: Any) -> Any:
    if name in _FLAGS:
        if isinstance(value, bool) or (value is None and name == "bf16"):
            return value
        raise UsageError(f"setting {name}={value!r}: needs {_FLAGS[name]}")
    low, high = _RANGES[name]
    whole = name in _WHOLE
    good = isinstance(value, int | float) and not isinstance(value, bool) and low <= value <= high
    if not good or (whole and value != int(value)):
        kind = "a whole number" if whole else "a number"
        raise UsageError(f"setting {name}={value!r}: needs {kind} {low:g}..{high:g}")
    return int(value) if whole else float(value)
