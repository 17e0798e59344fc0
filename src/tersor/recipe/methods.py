"""Whether the methods and options that a recipe names exist and fit each other."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from tersor.errors import UnknownNameError, UsageError
from tersor.quant import QUANTIZERS, MethodInfo
from tersor.registry import did_you_mean

# What runs the result -> the method for it when the recipe names none.
DEFAULT_METHODS = {"storage": "two_sided", "cpu": "fixed", "gguf": "fixed", "vllm": "fixed"}
PURPOSES = tuple(DEFAULT_METHODS)
DEFAULT_METHOD = DEFAULT_METHODS["storage"]


def default_method(purpose: object) -> str:
    """The method of a recipe that names none."""
    return DEFAULT_METHODS.get(str(purpose), DEFAULT_METHOD)


def method_problem(method: object, purpose: object = "storage") -> str | None:
    """Say what is wrong with the name of a method, or that `purpose` cannot run it; None if nothing is."""
    if not isinstance(method, str) or not method:
        return f"method: needs a name that `tersor methods` lists under quantizers, got {method!r}"
    try:
        info = QUANTIZERS.get(method).info
    except UnknownNameError as exc:
        return f"method: {exc}"
    if purpose in PURPOSES and purpose not in info.targets:
        return f"method: what {method!r} makes cannot run on {purpose!r}; choose one of {', '.join(_runs_on(purpose))}"
    return None


def option_problems(method: str, options: Mapping[object, object]) -> Iterator[tuple[object, str]]:
    """(option, what is wrong with it) of each bad option; the method exists."""
    info = QUANTIZERS.get(method).info
    for name, value in options.items():
        if not isinstance(name, str) or name not in info.options:
            yield name, _unknown_option(info, name)
            continue
        try:
            info.resolve({name: value})
        except UsageError as exc:
            yield name, str(exc)


def _unknown_option(info: MethodInfo, name: object) -> str:
    known = ", ".join(info.options) or "none"
    return f"method {info.name!r} has no option {name!r}{did_you_mean(str(name), info.options)} Options: {known}."


def _runs_on(purpose: object) -> list[str]:
    return [name for name in QUANTIZERS.names() if purpose in QUANTIZERS.get(name).info.targets]
