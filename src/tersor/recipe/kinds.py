"""The kinds of steps that a recipe may have: what each does, where it may stand, and its options."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

from tersor.quant import Option
from tersor.quant.info import boolean, choice, integer, number
from tersor.registry import Registry

# The places of a sensible order. Steps of one place may stand in any order, with the exceptions of order.py.
Place = Literal["structure", "recover", "weights", "store", "code"]
PLACES: tuple[Place, ...] = ("structure", "recover", "weights", "store", "code")

MAX_SPARSITY = 0.99
CAST_DTYPES = {"float16": "F16", "bfloat16": "BF16", "float32": "F32"}
LEVELS = ("fast", "balanced", "max")
RECOVER_STEPS = 150


@dataclass(frozen=True, slots=True)
class StepKind:
    """One kind of step.

    place: where in a recipe it may stand. options: its own, beside those of its method.
    one_of: options of which exactly one must be given. has_method: it names a method, which has options of its own.
    per_tensor: it acts on one tensor after the other, so `targets:` may say on which. source: where it was published.
    """

    name: str
    place: Place
    summary: str
    options: Mapping[str, Option] = field(default_factory=dict)
    one_of: tuple[str, ...] = ()
    has_method: bool = False
    per_tensor: bool = False
    source: str = ""


def _pattern(value: Any) -> str:
    """Whether the value is None or n:m with 1 <= n < m."""
    if value is None:
        return ""
    kept, _, run = value.partition(":") if isinstance(value, str) else ("", "", "")
    good = (
        kept.isascii()
        and run.isascii()
        and kept.isdigit()
        and run.isdigit()
        and 0 < int(kept) < int(run) <= 64
    )
    return "" if good else "text like '2:4': so many kept of so many neighbours in a row"


# Their descriptions lie with their code, above this part of the house; they need no torch.
_STRUCTURED: Registry[Any] = Registry(
    "structured step",
    {name: f"tersor.structured.steps:{name.upper()}" for name in ("layers", "heads", "neurons", "width")},
)


def _structured(name: str) -> StepKind:
    info = _STRUCTURED.get(name)
    return StepKind(name, "structure", info.summary, info.options, one_of=info.exclusive, source=info.source)


_KINDS = (
    *(_structured(name) for name in ("layers", "heads", "neurons", "width")),
    StepKind(
        "recover",
        "recover",
        "tunes weights against the original's outputs, without labels",
        {
            "what": choice(
                "small",
                ("small", "all"),
                "small: norms and biases; all: every weight, before anything is quantized",
            ),
            "steps": integer(RECOVER_STEPS, 1, 1_000_000, "steps of AdamW"),
            "learning_rate": number(
                None, 1e-8, 1.0, "peak learning rate; left out: the one that suits `what`"
            ),
        },
    ),
    StepKind(
        "prune",
        "weights",
        "sets weights to zero; linear layers, unless `targets` says which tensors",
        {
            "sparsity": number(
                0.5, 0.0, MAX_SPARSITY, f"share of the weights that become zero, 0 .. {MAX_SPARSITY}"
            ),
            "scope": Option(
                None,
                lambda value: (
                    "" if value in (None, "row", "layer", "global") else "'row', 'layer' or 'global'"
                ),
                "where weights compete: in a row, in a tensor, in all tensors; left out: a row, as Wanda publishes it",
            ),
            "pattern": Option(
                None, _pattern, "n:m, such as '2:4': so many of m neighbours stay; instead of sparsity"
            ),
        },
        has_method=True,
        per_tensor=True,
    ),
    StepKind(
        "low_rank",
        "weights",
        "stores matrices as a product of two thin ones; linear layers, unless `targets` says which tensors",
        {
            "keep": number(
                0.8, 0.01, 1.0, "parameters of the two factors over those of the matrix, .01 .. 1"
            ),
            "residual": boolean(False, "store what the product misses, too"),
        },
        has_method=True,
        per_tensor=True,
    ),
    StepKind(
        "cast",
        "store",
        "stores floats as another float type",
        {"dtype": choice("bfloat16", tuple(CAST_DTYPES), "type of the stored elements")},
        per_tensor=True,
    ),
    StepKind("quantize", "store", "rounds weights to codes", has_method=True, per_tensor=True),
    StepKind(
        "code",
        "code",
        "codes what is stored; floats by the level, integer codes always by their own tables",
        {
            "level": choice(
                "balanced", LEVELS, "fast: decodes fastest; balanced; max: smallest, slower both ways"
            )
        },
    ),
)
KINDS: dict[str, StepKind] = {kind.name: kind for kind in _KINDS}
STRUCTURED = tuple(kind.name for kind in _KINDS if kind.place == "structure")
