"""Whether recovery is worth its time for a model and a size."""

from __future__ import annotations

from dataclasses import dataclass, replace

from torch import nn

from tersor.calibrate.sampling import is_decoder
from tersor.calibrate.text import CalibrationText
from tersor.planner.plan import Plan
from tersor.recovery.small import BATCH_TOKENS, N_STEPS

# MiniLM: drift correction takes 14% of the error off at 2.06 bits per parameter, for a walk over 48k tokens of 97 s.
# Decoders, whose KL grows along the layers, gain 20% at 3.8 bits and 30% at 2.3.
LEADING = "two_sided"
DRIFT_BITS = 2.2
DRIFT_BITS_DECODER = 4.6
TUNE_BITS = 3.0
# Parameters (embeddings left out) times tokens that tuning may touch unasked: about two minutes of one core.
MAX_TUNING_WORK = 1e12
MIN_STEPS = 50
# The same for a drift pass, which costs about 7 forward passes: 3 minutes of one core; but no less text than this.
MAX_DRIFT_WORK = 1.5e12
MIN_DRIFT_TOKENS = 4096


@dataclass(frozen=True, slots=True)
class Recovery:
    """What to do. n_steps: of tuning; 0: none."""

    drift: bool = False
    n_steps: int = 0

    @property
    def is_nothing(self) -> bool:
        return not self.drift and not self.n_steps


def choose_recovery(
    model: nn.Module, plan: Plan, *, drift: str, tune: str, bits_per_weight: float | None
) -> Recovery:
    """Decide by the recipe's words ("auto", "on", "off") and the size aimed at; None: no size is given.

    auto: drift correction at DRIFT_BITS and below (decoders: DRIFT_BITS_DECODER); tuning at TUNE_BITS and below where
    outputs are logits, with as many steps as MAX_TUNING_WORK pays for, if those are enough. Without a size, or with
    another method than LEADING (which shall be what its name says): neither.
    """
    if not any(tensor.method == LEADING for tensor in plan.tensors):
        bits_per_weight = None
    return Recovery(_wants_drift(model, drift, bits_per_weight), _tuning_steps(model, tune, bits_per_weight))


def affordable_text(model: nn.Module, text: CalibrationText) -> CalibrationText:
    """The text, or as much of it, evenly spread, as MAX_DRIFT_WORK pays for.

    MiniLM at 1.8 bits per parameter (gptq): error .0702 with 16k tokens, .0738 with 8k, .0761 with 4k; .0799
    uncorrected.
    """
    affordable = max(MIN_DRIFT_TOKENS, int(MAX_DRIFT_WORK / max(1, _n_active(model))))
    stride = -(-text.n_tokens // affordable)
    return replace(text, sequences=text.sequences[::stride])


def _wants_drift(model: nn.Module, word: str, bits_per_weight: float | None) -> bool:
    if word != "auto":
        return word == "on"
    limit = DRIFT_BITS_DECODER if is_decoder(model) else DRIFT_BITS
    return bits_per_weight is not None and bits_per_weight <= limit


def _tuning_steps(model: nn.Module, word: str, bits_per_weight: float | None) -> int:
    if word != "auto":
        return N_STEPS if word == "on" else 0
    if bits_per_weight is None or bits_per_weight > TUNE_BITS or not _has_logits(model):
        return 0
    affordable = int(MAX_TUNING_WORK / (BATCH_TOKENS * max(1, _n_active(model))))
    return 0 if affordable < MIN_STEPS else min(N_STEPS, affordable)


def _has_logits(model: nn.Module) -> bool:
    """A model of transformers with a head: its class is named for a task."""
    name = type(model).__name__
    return is_decoder(model) or "For" in name


def _n_active(model: nn.Module) -> int:
    """Parameters that every token passes: all but embeddings."""
    tables = {id(module.weight) for module in model.modules() if isinstance(module, nn.Embedding)}
    return sum(p.numel() for p in model.parameters() if id(p) not in tables)
