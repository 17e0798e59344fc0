"""Whether the methods and options that a recipe names exist and fit each other."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import Any, Protocol

from tersor.errors import UnknownNameError, UsageError
from tersor.quant import QUANTIZERS
from tersor.registry import Registry, did_you_mean

# What runs the result -> the method for it when the recipe names none.
DEFAULT_METHODS = {"storage": "two_sided", "cpu": "fixed", "gguf": "fixed", "vllm": "fixed"}
PURPOSES = tuple(DEFAULT_METHODS)
DEFAULT_METHOD = DEFAULT_METHODS["storage"]
DEFAULT_PRUNER = "sparsegpt"
DEFAULT_FACTORIZER = "two_sided_svd"

# Kind of step -> what `tersor methods` calls its methods.
_LISTED = {"quantize": "quantizers", "prune": "pruners", "low_rank": "lowrank"}


class Info(Protocol):
    """What the descriptions of all methods have in common."""

    name: str
    options: Mapping[str, Any]

    def resolve(self, options: Mapping[str, Any]) -> Mapping[str, Any]: ...


def methods_of(kind: str) -> Registry[Any]:
    """The methods of a kind of step, each with its `info`."""
    if kind == "prune":
        from tersor.prune import PRUNERS

        return PRUNERS
    if kind == "low_rank":
        from tersor.lowrank import FACTORIZERS

        return FACTORIZERS
    return QUANTIZERS


def default_method(purpose: object) -> str:
    """The quantizer of a recipe that names none."""
    return DEFAULT_METHODS.get(str(purpose), DEFAULT_METHOD)


def default_method_of(kind: str, purpose: object) -> str:
    """The method of a step that names none."""
    return {"prune": DEFAULT_PRUNER, "low_rank": DEFAULT_FACTORIZER}.get(kind) or default_method(purpose)


def info_of(kind: str, method: str) -> Any:
    """The description of a method of a kind of step. Raises: UnknownNameError naming the nearest."""
    return methods_of(kind).get(method).info


def method_problem(method: object, purpose: object = "storage", kind: str = "quantize") -> str | None:
    """Say what is wrong with the name of a method, or that `purpose` cannot run it; None if nothing is."""
    if not isinstance(method, str) or not method:
        return f"method: needs a name that `tersor methods` lists under {_LISTED[kind]}, got {method!r}"
    try:
        info = info_of(kind, method)
    except UnknownNameError as exc:
        return f"method: {exc}"
    if kind == "quantize" and purpose in PURPOSES and purpose not in info.targets:
        return f"method: what {method!r} makes cannot run on {purpose!r}; choose one of {', '.join(_runs_on(purpose))}"
    return None


def option_problems(
    method: str, options: Mapping[object, object], kind: str = "quantize"
) -> Iterator[tuple[object, str]]:
    """(option, what is wrong with it) of each bad option; the method exists."""
    info = info_of(kind, method)
    for name, value in options.items():
        if not isinstance(name, str) or name not in info.options:
            yield name, _unknown_option(info, name)
            continue
        try:
            info.resolve({name: value})
        except UsageError as exc:
            yield name, str(exc)


def keeping_zeros() -> list[str]:
    """The quantizers that leave the zeros of a pruned matrix zero."""
    return [name for name in QUANTIZERS.names() if QUANTIZERS.get(name).info.keeps_zeros]


def join_names(names: Iterable[str]) -> str:
    """Names with commas, or "none"."""
    return ", ".join(names) or "none"


def _unknown_option(info: Info, name: object) -> str:
    near = did_you_mean(str(name), info.options)
    return f"method {info.name!r} has no option {name!r}{near} Options: {join_names(info.options)}."


def _runs_on(purpose: object) -> list[str]:
    return [name for name in QUANTIZERS.names() if purpose in QUANTIZERS.get(name).info.targets]
