"""Every field of a recipe, and what its values must be. A problem is (path, what is wrong)."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Any

from tersor.errors import UsageError
from tersor.recipe.latency import LATENCY_FORMS, parse_latency
from tersor.recipe.loss import METRICS, check_metric, parse_loss
from tersor.recipe.methods import PURPOSES, default_method, method_problem, option_problems
from tersor.recipe.problem import Path, Problem
from tersor.recipe.size import SIZE_FORMS, parse_size
from tersor.recipe.step_checks import steps_problems
from tersor.registry import did_you_mean

MAX_SEED = 2**32 - 1
MAX_RULES = 1000
SWITCHES = ("auto", "on", "off")
RULE_KEYS = ("match", "method", "options", "keep")

# Programs whose speed cannot be measured here.
ELSEWHERE = ("gguf", "vllm")


def problems(values: Mapping[str, object]) -> list[Problem]:
    """Everything that is wrong with a recipe's values, in the order of its fields."""
    found: list[Problem] = [((name,), unknown_key(name)) for name in values if name not in FIELDS]
    for name, check in FIELDS.items():
        if name in values:
            found += check(values)
    if values.get("size") is not None and values.get("max_loss") is not None:
        found.append((("max_loss",), "max_loss: size and max_loss exclude each other; give one of them"))
    return found


def unknown_key(name: object) -> str:
    """Say that a key is not one of a recipe's, and which are."""
    return f"unknown key {name!r}{did_you_mean(str(name), FIELDS)} Known: {', '.join(FIELDS)}."


def _check_size(values: Mapping[str, object]) -> Iterator[Problem]:
    value = values["size"]
    if not isinstance(value, str):
        if value is not None:
            yield ("size",), f"size: needs text, got {value!r}. A size is {SIZE_FORMS}"
        return
    try:
        parse_size(value)
    except UsageError as exc:
        yield ("size",), str(exc)


def _check_max_loss(values: Mapping[str, object]) -> Iterator[Problem]:
    value, metric = values["max_loss"], values.get("metric")
    if value is None:
        return
    if not isinstance(value, str):
        yield ("max_loss",), f"max_loss: needs text such as '1%', got {value!r}"
        return
    try:
        parse_loss(value, metric if metric in METRICS else None)
    except UsageError as exc:
        yield ("max_loss",), str(exc)


def _check_max_latency(values: Mapping[str, object]) -> Iterator[Problem]:
    value, purpose = values["max_latency"], values.get("for")
    if value is None:
        return
    if not isinstance(value, str):
        yield ("max_latency",), f"max_latency: needs text, got {value!r}. A latency is {LATENCY_FORMS}"
        return
    try:
        parse_latency(value)
    except UsageError as exc:
        yield ("max_latency",), str(exc)
    if purpose in ELSEWHERE:
        yield (
            ("max_latency",),
            f"max_latency: what is made for {purpose} runs elsewhere, and its time cannot be measured here",
        )


def _check_metric(values: Mapping[str, object]) -> Iterator[Problem]:
    value = values["metric"]
    if value is None:
        return
    try:
        check_metric(str(value))
    except UsageError as exc:
        yield ("metric",), str(exc)
    if values.get("max_loss") is None:
        yield ("metric",), "metric: says what max_loss measures, but no max_loss is given"


def _check_method(values: Mapping[str, object]) -> Iterator[Problem]:
    problem = method_problem(values["method"], values.get("for"))
    if problem is not None:
        yield ("method",), problem


def _check_options(values: Mapping[str, object]) -> Iterator[Problem]:
    method = values.get("method", default_method(values.get("for")))
    yield from _options(("options",), method, values["options"])


def _check_targets(values: Mapping[str, object]) -> Iterator[Problem]:
    rules = values["targets"]
    if not isinstance(rules, list | tuple) or len(rules) > MAX_RULES:
        yield (
            ("targets",),
            f"targets: needs a list of at most {MAX_RULES} rules like {{match: 'pooler.*', keep: true}}",
        )
        return
    for number, rule in enumerate(rules):
        yield from _rule(("targets", number), rule, values)


def _rule(path: Path, rule: object, values: Mapping[str, object]) -> Iterator[Problem]:
    if not isinstance(rule, Mapping):
        yield path, "targets: a rule is a mapping like {match: 'pooler.*', keep: true}"
        return
    for key in rule:
        if key not in RULE_KEYS:
            known = ", ".join(RULE_KEYS)
            yield (
                (*path, key),
                f"targets: unknown key {key!r}{did_you_mean(str(key), RULE_KEYS)} Known: {known}.",
            )
    if not isinstance(rule.get("match"), str) or not rule["match"]:
        yield (
            path,
            "targets: a rule needs `match`, a glob pattern of tensor names such as 'encoder.layer.0.*'",
        )
    keep = rule.get("keep", False)
    if not isinstance(keep, bool):
        yield (*path, "keep"), f"targets: keep is true or false, got {keep!r}"
    elif keep and ("method" in rule or "options" in rule):
        yield (*path, "keep"), "targets: a tensor that is kept has no method and no options"
    elif not keep and "method" not in rule and "options" not in rule:
        yield path, "targets: a rule says `keep: true`, a `method`, `options`, or both of these"
    method = rule.get("method", values.get("method", default_method(values.get("for"))))
    if "method" in rule and (problem := method_problem(method, values.get("for"))):
        yield (*path, "method"), problem
    if "options" in rule:
        yield from _options((*path, "options"), method, rule["options"])


def _options(path: Path, method: object, options: object) -> Iterator[Problem]:
    if not isinstance(options, Mapping):
        yield path, f"options: needs a mapping such as {{bits: 4}}, got {options!r}"
    elif isinstance(method, str) and method_problem(method) is None:
        for name, problem in option_problems(method, options):
            yield (*path, name), problem


def _one_of(name: str, allowed: tuple[str, ...]) -> Callable[[Mapping[str, object]], Iterator[Problem]]:
    def check(values: Mapping[str, object]) -> Iterator[Problem]:
        value = values[name]
        if value not in allowed:
            near = did_you_mean(str(value), allowed)
            yield (name,), f"{name}: needs one of {', '.join(allowed)}, got {value!r}{near}"

    return check


def _check_path(values: Mapping[str, object]) -> Iterator[Problem]:
    value = values["calibration"]
    if value is not None and not (isinstance(value, str) and value):
        yield ("calibration",), f"calibration: needs the path of a text file, got {value!r}"


def _check_seed(values: Mapping[str, object]) -> Iterator[Problem]:
    value: Any = values["seed"]
    if not isinstance(value, int) or isinstance(value, bool) or not 0 <= value <= MAX_SEED:
        yield ("seed",), f"seed: needs a whole number 0 .. {MAX_SEED}, got {value!r}"


FIELDS: dict[str, Callable[[Mapping[str, object]], Iterator[Problem]]] = {
    "size": _check_size,
    "max_loss": _check_max_loss,
    "metric": _check_metric,
    "max_latency": _check_max_latency,
    "for": _one_of("for", PURPOSES),
    "method": _check_method,
    "options": _check_options,
    "steps": steps_problems,
    "targets": _check_targets,
    "drift": _one_of("drift", SWITCHES),
    "tune": _one_of("tune", SWITCHES),
    "calibration": _check_path,
    "seed": _check_seed,
}
