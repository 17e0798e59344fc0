"""A JSON Schema of recipes, for editors."""

from __future__ import annotations

from typing import Any

from tersor.quant import QUANTIZERS
from tersor.recipe.checks import MAX_RULES, MAX_SEED, SWITCHES
from tersor.recipe.kinds import KINDS, StepKind
from tersor.recipe.latency import LATENCY_FORMS
from tersor.recipe.loss import LOSS_FORMS, METRICS
from tersor.recipe.methods import DEFAULT_METHOD, PURPOSES, methods_of
from tersor.recipe.size import SIZE_FORMS
from tersor.recipe.step_checks import MAX_STEPS


def recipe_schema() -> dict[str, Any]:
    """Return the schema (draft 2020-12) with the methods that are installed and their options."""
    methods = QUANTIZERS.names()
    options = {
        "type": "object",
        "description": "the method's own: " + "; ".join(_options_of(m) for m in methods),
    }
    method = {"enum": methods, "default": DEFAULT_METHOD}
    rule = {
        "type": "object",
        "additionalProperties": False,
        "required": ["match"],
        "properties": {
            "match": {"type": "string", "minLength": 1, "description": "glob pattern of tensor names"},
            "method": method,
            "options": options,
            "keep": {"type": "boolean", "description": "store these tensors without loss"},
        },
    }
    switch = {"enum": list(SWITCHES), "default": "auto"}
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": "tersor recipe",
        "type": "object",
        "additionalProperties": False,
        "properties": {
            "size": {"type": "string", "description": SIZE_FORMS},
            "max_loss": {"type": ["string", "number"], "description": LOSS_FORMS},
            "metric": {"enum": list(METRICS), "description": "what max_loss measures"},
            "max_latency": {"type": "string", "description": LATENCY_FORMS},
            "for": {"enum": list(PURPOSES), "default": "storage", "description": "what shall run the result"},
            "method": method,
            "options": options,
            "steps": {
                "type": "array",
                "maxItems": MAX_STEPS,
                "items": {"oneOf": [_step(k) for k in KINDS.values()]},
            },
            "targets": {"type": "array", "maxItems": MAX_RULES, "items": rule},
            "drift": switch
            | {"description": "drift correction; auto: at about 2 bits per parameter and less"},
            "tune": switch | {"description": "tuning of norms and biases against the original's outputs"},
            "calibration": {"type": ["string", "null"], "description": "text file, relative to the recipe"},
            "seed": {"type": "integer", "minimum": 0, "maximum": MAX_SEED, "default": 0},
        },
        "allOf": [
            {"not": {"required": ["size", "max_loss"]}},
            {"not": {"required": ["steps", "method"]}},
            {"not": {"required": ["steps", "options"]}},
        ],
    }


def _step(kind: StepKind) -> dict[str, Any]:
    """The schema of one kind of step."""
    options: dict[str, Any] = {name: {"description": o.help} for name, o in kind.options.items()}
    for name, option in kind.options.items():
        if option.default is not None:
            options[name]["default"] = option.default
    if kind.has_method:
        options |= {"method": {"enum": methods_of(kind.name).names()}, "options": {"type": "object"}}
    body: dict[str, Any] = {"type": ["object", "null"], "additionalProperties": False, "properties": options}
    if kind.one_of:
        body["oneOf"] = [{"required": [name]} for name in kind.one_of]
    beside: dict[str, Any] = {"evaluate": {"enum": list(METRICS), "description": "measured after the step"}}
    if kind.per_tensor:
        beside["targets"] = {"type": "string", "description": "glob pattern of tensor names"}
    return {
        "type": "object",
        "description": kind.summary,
        "additionalProperties": False,
        "required": [kind.name],
        "properties": {kind.name: body, **beside},
    }


def _options_of(method: str) -> str:
    options = QUANTIZERS.get(method).info.options
    return f"{method}: " + (", ".join(options) or "none")
